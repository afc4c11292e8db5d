// Discovers the server with openid-client, gets a token by the client credentials grant, verifies it with jose.
// Environment: ISSUER, CLIENT_ID, CLIENT_SECRET, SCOPE, AUTH_METHOD (basic, post), DISCOVERY (oauth2, oidc).

// Node.js 18 keeps Web Crypto in a module; the libraries look for the global.
globalThis.crypto ??= (await import('node:crypto')).webcrypto
const client = await import('openid-client')
const { createRemoteJWKSet, jwtVerify } = await import('jose6')

const { ISSUER, CLIENT_ID, CLIENT_SECRET, SCOPE, AUTH_METHOD, DISCOVERY } = process.env
const authentication = { basic: client.ClientSecretBasic, post: client.ClientSecretPost }[AUTH_METHOD]

const config = await client.discovery(new URL(ISSUER), CLIENT_ID, {}, authentication(CLIENT_SECRET), {
  algorithm: DISCOVERY,
  execute: [client.allowInsecureRequests], // plain HTTP, on loopback only
})
const tokens = await client.clientCredentialsGrant(config, { scope: SCOPE, audience: 'my-api' })
const metadata = config.serverMetadata()
const { payload, protectedHeader } = await jwtVerify(
  tokens.access_token,
  createRemoteJWKSet(new URL(metadata.jwks_uri)),
  { issuer: metadata.issuer, audience: 'my-api', typ: 'at+jwt' },
)
console.log(JSON.stringify({ payload, protectedHeader, tokens, expiresIn: tokens.expiresIn() }))
