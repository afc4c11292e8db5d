// Logs in with private_key_jwt through one of the libraries that people use, and prints the token response.
// Environment: LIBRARY (openid-client, oauth4webapi, mcp), ISSUER, CLIENT_ID, JWK (private), ALG, SCOPE, RESOURCE (mcp).

// Node.js 18 keeps Web Crypto in a module; the libraries look for the global.
globalThis.crypto ??= (await import('node:crypto')).webcrypto
const { importJWK } = await import('jose6')

const { LIBRARY, ISSUER, CLIENT_ID, JWK, ALG, SCOPE, RESOURCE } = process.env
const jwk = JSON.parse(JWK)

const libraries = {
  async 'openid-client'() {
    const client = await import('openid-client')
    const key = { key: await importJWK(jwk, ALG), kid: jwk.kid }
    const config = await client.discovery(new URL(ISSUER), CLIENT_ID, {}, client.PrivateKeyJwt(key), {
      algorithm: 'oauth2',
      execute: [client.allowInsecureRequests], // plain HTTP, on loopback only
    })
    return client.clientCredentialsGrant(config, { scope: SCOPE, audience: 'my-api' })
  },

  async oauth4webapi() {
    const oauth = await import('oauth4webapi')
    const options = { [oauth.allowInsecureRequests]: true }
    const issuer = new URL(ISSUER)
    const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options })
    const as = await oauth.processDiscoveryResponse(issuer, found)
    const client = { client_id: CLIENT_ID }
    const authentication = oauth.PrivateKeyJwt({ key: await importJWK(jwk, ALG), kid: jwk.kid })
    const parameters = new URLSearchParams({ scope: SCOPE, audience: 'my-api' })
    const answer = await oauth.clientCredentialsGrantRequest(as, client, authentication, parameters, options)
    return oauth.processClientCredentialsResponse(as, client, answer)
  },

  async mcp() {
    const { PrivateKeyJwtProvider, auth } = await import('@modelcontextprotocol/client')
    const provider = new PrivateKeyJwtProvider({
      clientId: CLIENT_ID,
      privateKey: jwk,
      algorithm: ALG,
      scope: SCOPE,
      expectedIssuer: ISSUER,
    })
    const result = await auth(provider, { serverUrl: RESOURCE, scope: SCOPE })
    if (result !== 'AUTHORIZED') throw new Error(result)
    return provider.tokens()
  },
}
console.log(JSON.stringify(await libraries[LIBRARY]()))
