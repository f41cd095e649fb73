// A real OpenID provider on loopback that gives JWT access tokens for client credentials (RFC 8707, RFC 9068).
// One line of JSON on standard input configures it; it ends when standard input does.
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';

const lines = createInterface({ input: process.stdin });
const settings = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
const { Provider } = await import(settings.module);

const provider = new Provider(settings.issuer, {
  clients: settings.clients.map((client) => ({
    grant_types: ['client_credentials'], redirect_uris: [], response_types: [], ...client,
  })),
  jwks: { keys: settings.keys },
  scopes: ['read', 'write'],
  ttl: { ClientCredentials: 300 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context, resource) => ({
        scope: 'read write', audience: resource, accessTokenFormat: 'jwt', jwt: { sign: { alg: settings.alg } },
      }),
    },
  },
});
const tls = { key: readFileSync(settings.key), cert: readFileSync(settings.chain) };
createServer(tls, provider.callback()).listen(new URL(settings.issuer).port, '127.0.0.1', () => console.log('ready'));
lines.on('close', () => process.exit());
