// A real OpenID provider on loopback that gives JWT access tokens for client credentials (RFC 8707, RFC 9068).
// One line of JSON on standard input configures it; it ends when standard input does.
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';

const lines = createInterface({ input: process.stdin });
const settings = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
const { Provider } = await import(settings.module);

// What RFC 8705 leaves to whoever terminates TLS, here this very process.
const certificate = (context) => context.req.socket.getPeerX509Certificate?.();
const mTLS = {
  enabled: true, tlsClientAuth: true, certificateBoundAccessTokens: true,
  getCertificate: (context) => certificate(context)?.toString(),
  certificateAuthorized: (context) => context.req.socket.authorized,
  certificateSubjectMatches: (context, property, expected) => property === 'tls_client_auth_san_uri'
    && certificate(context).subjectAltName === `URI:${expected}`,
};
const dPoP = {
  enabled: true, nonceSecret: Buffer.alloc(32, 'nonce'), requireNonce: () => settings.nonces,
};

const provider = new Provider(settings.issuer, {
  clients: settings.clients.map((client) => ({
    grant_types: ['client_credentials'], redirect_uris: [], response_types: [], ...client,
  })),
  clientAuthMethods: ['client_secret_basic', 'private_key_jwt', ...(settings.trust ? ['tls_client_auth'] : [])],
  jwks: { keys: settings.keys },
  scopes: ['read', 'write'],
  ttl: { ClientCredentials: 300 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    ...(settings.trust ? { mTLS, dPoP } : {}),
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context, resource) => ({
        scope: 'read write', audience: resource, accessTokenFormat: 'jwt', jwt: { sign: { alg: settings.alg } },
      }),
    },
  },
});
const tls = { key: readFileSync(settings.key), cert: readFileSync(settings.chain) };
if (settings.trust) {
  Object.assign(tls, { ca: readFileSync(settings.trust), requestCert: true, rejectUnauthorized: false });
}
createServer(tls, provider.callback()).listen(new URL(settings.issuer).port, '127.0.0.1', () => console.log('ready'));
lines.on('close', () => process.exit());
