// Gets a token bound to a key and calls an API with it, with openid-client and with oauth4webapi, which it stands on.
// Environment: ISSUER, API, CLIENT_ID, CLIENT_SECRET, SCOPE, ALG (of the key), LIBRARY (openid-client, oauth4webapi).

// Node.js 18 keeps Web Crypto in a module; the libraries look for the global.
globalThis.crypto ??= (await import('node:crypto')).webcrypto

const { ISSUER, API, CLIENT_ID, CLIENT_SECRET, SCOPE, ALG, LIBRARY } = process.env
const url = new URL(`${API}/note?x=1`)

const told = await { 'openid-client': withOpenidClient, oauth4webapi: withOauth4webapi }[LIBRARY]()
console.log(JSON.stringify(told))

async function withOpenidClient() {
  const client = await import('openid-client')
  const config = await client.discovery(new URL(ISSUER), CLIENT_ID, {}, client.ClientSecretBasic(CLIENT_SECRET), {
    algorithm: 'oauth2',
    execute: [client.allowInsecureRequests], // plain HTTP, on loopback only
  })
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair(ALG))
  const tokens = await client.clientCredentialsGrant(config, { scope: SCOPE, audience: 'my-api' }, { DPoP })
  const jkt = await DPoP.calculateThumbprint()
  const statuses = []
  for (let i = 0; i < 3; i++) {
    const answer = await client.fetchProtectedResource(config, tokens.access_token, url, 'GET', null, null, { DPoP })
    statuses.push(answer.status)
  }
  return { tokens, jkt, statuses, supported: config.serverMetadata().dpop_signing_alg_values_supported }
}

async function withOauth4webapi() {
  const oauth = await import('oauth4webapi')
  const insecure = { [oauth.allowInsecureRequests]: true } // plain HTTP, on loopback only
  const discovered = await oauth.discoveryRequest(new URL(ISSUER), { algorithm: 'oauth2', ...insecure })
  const server = await oauth.processDiscoveryResponse(new URL(ISSUER), discovered)
  const client = { client_id: CLIENT_ID }
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair(ALG))
  const form = { scope: SCOPE, audience: 'my-api' }
  const authentication = oauth.ClientSecretBasic(CLIENT_SECRET)

  async function ask() {
    const answer = await oauth.clientCredentialsGrantRequest(server, client, authentication, form, { DPoP, ...insecure })
    return oauth.processClientCredentialsResponse(server, client, answer)
  }
  const tokens = await ask().catch((error) => {
    if (!oauth.isDPoPNonceError(error)) throw error
    return ask() // the handle has learned the nonce
  })
  const jkt = await DPoP.calculateThumbprint()
  const call = () =>
    oauth.protectedResourceRequest(tokens.access_token, 'GET', url, new Headers(), null, { DPoP, ...insecure })
  const statuses = []
  for (let i = 0; i < 3; i++) {
    const answer = await call().catch((error) => {
      if (!oauth.isDPoPNonceError(error)) throw error
      return call()
    })
    statuses.push(answer.status)
  }
  return { tokens, jkt, statuses, supported: server.dpop_signing_alg_values_supported }
}
