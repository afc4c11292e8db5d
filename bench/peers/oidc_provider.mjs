// oidc-provider: a JWT access token for client credentials. In-memory adapter, nothing recorded.
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

const setup = JSON.parse(process.env.BENCH_PEER);
const { privateKey } = await generateKeyPair(setup.algorithm, { extractable: true, modulusLength: 2048 });
const key = { ...(await exportJWK(privateKey)), alg: setup.algorithm, use: 'sig', kid: 'key-1' };
const scope = setup.scopes.join(' ');

const provider = new Provider(`http://127.0.0.1:${setup.port}`, {
  jwks: { keys: [key] },
  scopes: setup.scopes,
  clients: [
    {
      client_id: setup.client_id,
      client_secret: setup.client_secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      scope,
      token_endpoint_auth_method: 'client_secret_basic',
      id_token_signed_response_alg: setup.algorithm,
    },
  ],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => setup.resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope,
        audience: setup.resource,
        accessTokenTTL: 300,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: setup.algorithm } },
      }),
    },
  },
  routes: { token: '/oauth/token' },
});
provider.listen(setup.port, '127.0.0.1');
