// Gets a token with a client certificate, by openid-client and by oauth4webapi, both of which go to the endpoint that the
// metadata name for it. Environment: ISSUER, CLIENT_ID, SCOPE, CERT, KEY, CA (files, PEM), LIBRARY (openid-client, oauth4webapi).

// Node.js 18 keeps Web Crypto in a module; the libraries look for the global.
globalThis.crypto ??= (await import('node:crypto')).webcrypto
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'

const { ISSUER, CLIENT_ID, SCOPE, CERT, KEY, CA, LIBRARY } = process.env
const agent = new https.Agent({ cert: readFileSync(CERT), key: readFileSync(KEY), ca: readFileSync(CA) })
const asked = []

// Node's own fetch shows no certificate; this is the least that the libraries need of one that does.
function fetchWithCertificate(url, options) {
  const target = new URL(url)
  asked.push(target.href)
  const [library, more] = target.protocol === 'https:' ? [https, { agent }] : [http, {}]
  const headers = Object.fromEntries(new Headers(options.headers))
  return new Promise((resolve, reject) => {
    const request = library.request(target, { method: options.method, headers, ...more }, (answer) => {
      const pieces = []
      answer.on('data', (piece) => pieces.push(piece))
      answer.on('end', () => resolve(new Response(Buffer.concat(pieces), { status: answer.statusCode, headers: answer.headers })))
    })
    request.on('error', reject)
    request.end(options.body === undefined || options.body === null ? undefined : String(options.body))
  })
}

async function withOpenidClient() {
  const client = await import('openid-client')
  const config = await client.discovery(
    new URL(ISSUER),
    CLIENT_ID,
    { use_mtls_endpoint_aliases: true },
    client.TlsClientAuth(),
    { algorithm: 'oauth2', execute: [client.allowInsecureRequests], [client.customFetch]: fetchWithCertificate },
  )
  config[client.customFetch] = fetchWithCertificate
  return client.clientCredentialsGrant(config, { scope: SCOPE, audience: 'my-api' })
}

async function withOauth4webapi() {
  const oauth = await import('oauth4webapi')
  const options = { [oauth.customFetch]: fetchWithCertificate, [oauth.allowInsecureRequests]: true }
  const issuer = new URL(ISSUER)
  const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options })
  const server = await oauth.processDiscoveryResponse(issuer, found)
  const client = { client_id: CLIENT_ID, use_mtls_endpoint_aliases: true }
  const parameters = new URLSearchParams({ scope: SCOPE, audience: 'my-api' })
  const answer = await oauth.clientCredentialsGrantRequest(server, client, oauth.TlsClientAuth(), parameters, options)
  return oauth.processClientCredentialsResponse(server, client, answer)
}

const tokens = await { 'openid-client': withOpenidClient, oauth4webapi: withOauth4webapi }[LIBRARY]()
console.log(JSON.stringify({ tokens, asked }))
