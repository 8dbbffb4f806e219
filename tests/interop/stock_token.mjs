// node stock_token.mjs: the token endpoint with unmodified oauth4webapi, which leaves the repeat for a nonce to its caller
import { readFileSync } from 'node:fs'
import { importJWK } from 'jose'
import * as oauth from 'oauth4webapi'

const { authority, keys } = JSON.parse(readFileSync('keys.json'))
const issuer = new URL(JSON.parse(readFileSync('hub-keys.json')).issuer)
const insecure = { [oauth.allowInsecureRequests]: true } // http, on this machine
const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure })
const server = await oauth.processDiscoveryResponse(issuer, found)
const client = { client_id: authority }
const auth = oauth.PrivateKeyJwt({ key: await importJWK(keys.client_auth.jwk, 'ES256'), kid: keys.client_auth.kid })
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))

async function requestToken () {
  const answer = await oauth.clientCredentialsGrantRequest(server, client, auth, new URLSearchParams(), { DPoP, ...insecure })
  return oauth.processClientCredentialsResponse(server, client, answer)
}

let firstError = ''
const token = await requestToken().catch((error) => {
  if (!oauth.isDPoPNonceError(error)) throw error
  firstError = error.error
  return requestToken()
})
const inbox = new URL('/v1/inbox?after=0&limit=10', issuer)
const answer = await oauth.protectedResourceRequest(token.access_token, 'GET', inbox, undefined, undefined, { DPoP, ...insecure })
const { items } = await answer.json()
console.log(JSON.stringify({ first_error: firstError, token_type: token.token_type, status: answer.status, items: items.length }))
