// Stock OAuth clients, unmodified: each obtains a token that is bound by DPoP, and lists the inbox with it.
// Reads {"issuer", "client", "key"} from standard input, where key is a private JWK; writes one line of JSON for each client.
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'

const { issuer, client: client_id, key: jwk } = JSON.parse(readFileSync(0, 'utf8'))
const { kid, ...privateJwk } = jwk
const key = await crypto.subtle.importKey('jwk', privateJwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
const inbox = new URL(`${issuer}/v1/inbox?limit=10`)
const report = (name, token, status, inbox) => console.log(JSON.stringify({ name, type: token.token_type, status, inbox }))

async function openidClient(name, options) {
  const settings = { execute: [openid.allowInsecureRequests], ...options }
  const config = await openid.discovery(new URL(issuer), client_id, undefined, openid.PrivateKeyJwt({ key, kid }), settings)
  const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair('ES256'))
  const token = await openid.clientCredentialsGrant(config, {}, { DPoP })
  const args = [config, token.access_token, inbox, 'GET', undefined, undefined, { DPoP }]
  const answer = await openid.fetchProtectedResource(...args)
  report(name, token, answer.status, await answer.json())
}

async function oauth4webapi(name) {
  const insecure = { [oauth.allowInsecureRequests]: true }
  const found = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...insecure })
  const server = await oauth.processDiscoveryResponse(new URL(issuer), found)
  const client = { client_id }
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
  const authentication = oauth.PrivateKeyJwt({ key, kid })
  const twice = async (attempt) => {
    try {
      return await attempt()
    } catch (error) {
      if (!oauth.isDPoPNonceError(error)) throw error
      return await attempt()
    }
  }
  const token = await twice(async () => {
    const answer = await oauth.clientCredentialsGrantRequest(server, client, authentication, new URLSearchParams(), { DPoP, ...insecure })
    return await oauth.processClientCredentialsResponse(server, client, answer)
  })
  const ask = () => oauth.protectedResourceRequest(token.access_token, 'GET', inbox, undefined, undefined, { DPoP, ...insecure })
  const answer = await twice(ask)
  report(name, token, answer.status, await answer.json())
}

await openidClient('openid-client', {})
await openidClient('openid-client, plain OAuth', { algorithm: 'oauth2' })
await oauth4webapi('oauth4webapi')
