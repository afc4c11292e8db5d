// An API's server asks about a token, plainly and for a signed answer (RFC 7662, RFC 9701), its agent revokes it (RFC 7009), and
// the server asks again. Environment: LIBRARY (openid-client, oauth4webapi), ISSUER, CLIENT_ID and CLIENT_SECRET of the agent,
// API_ID and API_SECRET of the API's server, SCOPE, ALG (of signed answers).

// Node.js 18 keeps Web Crypto in a module; the libraries look for the global.
globalThis.crypto ??= (await import('node:crypto')).webcrypto
const { createRemoteJWKSet, jwtVerify } = await import('jose6')

const { LIBRARY, ISSUER, CLIENT_ID, CLIENT_SECRET, API_ID, API_SECRET, SCOPE, ALG } = process.env

async function withOpenidClient() {
  const client = await import('openid-client')
  const login = (id, secret, metadata = {}) =>
    client.discovery(new URL(ISSUER), id, metadata, client.ClientSecretBasic(secret), {
      algorithm: 'oauth2',
      execute: [client.allowInsecureRequests], // plain HTTP, on loopback only
    })
  const agent = await login(CLIENT_ID, CLIENT_SECRET)
  const plain = await login(API_ID, API_SECRET)
  const signed = await login(API_ID, API_SECRET, { introspection_signed_response_alg: ALG })
  client.enableNonRepudiationChecks(signed) // verifies the signature with the published keys
  const { access_token: token } = await client.clientCredentialsGrant(agent, { scope: SCOPE, audience: 'my-api' })
  const ask = async () => [await client.tokenIntrospection(plain, token), await client.tokenIntrospection(signed, token)]
  const before = await ask()
  await client.tokenRevocation(agent, token)
  return { before, after: await ask() }
}

async function withOauth4webapi() {
  const oauth = await import('oauth4webapi')
  const options = { [oauth.allowInsecureRequests]: true }
  const issuer = new URL(ISSUER)
  const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options })
  const as = await oauth.processDiscoveryResponse(issuer, found)
  const [agent, agentLogin] = [{ client_id: CLIENT_ID }, oauth.ClientSecretBasic(CLIENT_SECRET)]
  const parameters = new URLSearchParams({ scope: SCOPE, audience: 'my-api' })
  const granted = await oauth.clientCredentialsGrantRequest(as, agent, agentLogin, parameters, options)
  const { access_token: token } = await oauth.processClientCredentialsResponse(as, agent, granted)

  async function askOnce(client) {
    const login = oauth.ClientSecretBasic(API_SECRET)
    const answer = await oauth.introspectionRequest(as, client, login, token, options)
    const told = await oauth.processIntrospectionResponse(as, client, answer)
    if (client.introspection_signed_response_alg) await oauth.validateApplicationLevelSignature(as, answer, options)
    return told
  }
  const ask = async () => [
    await askOnce({ client_id: API_ID }),
    await askOnce({ client_id: API_ID, introspection_signed_response_alg: ALG }),
  ]
  const before = await ask()
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, agent, agentLogin, token, options))
  return { before, after: await ask() }
}

// What a server signs is what jose accepts too, by its type and for this caller alone.
async function withJose() {
  const basic = (id, secret) => `Basic ${btoa(`${id}:${secret}`)}`
  const post = (path, login, form, accept = '*/*') =>
    fetch(ISSUER + path, { method: 'POST', body: new URLSearchParams(form), headers: { authorization: login, accept } })
  const form = { grant_type: 'client_credentials', scope: SCOPE, audience: 'my-api' }
  const { access_token: token } = await (await post('/oauth/token', basic(CLIENT_ID, CLIENT_SECRET), form)).json()
  const keys = createRemoteJWKSet(new URL(`${ISSUER}/.well-known/jwks.json`))
  const ask = async () => {
    const plain = await post('/oauth/introspect', basic(API_ID, API_SECRET), { token })
    const signed = await post('/oauth/introspect', basic(API_ID, API_SECRET), { token }, 'application/token-introspection+jwt')
    const expected = { issuer: ISSUER, audience: API_ID, typ: 'token-introspection+jwt' }
    const { payload } = await jwtVerify(await signed.text(), keys, expected)
    return [await plain.json(), payload.token_introspection]
  }
  const before = await ask()
  await post('/oauth/revoke', basic(CLIENT_ID, CLIENT_SECRET), { token })
  return { before, after: await ask() }
}

const libraries = { 'openid-client': withOpenidClient, oauth4webapi: withOauth4webapi, jose: withJose }
console.log(JSON.stringify(await libraries[LIBRARY]()))
