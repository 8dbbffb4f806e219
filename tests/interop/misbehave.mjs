// node misbehave.mjs CASE DRAFT: sends a message that is wrong in one way, on the modules of docs/partners.md, and prints the hub's
// refusal once its signature and its digest of the request are verified. Anything else ends with an error.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { exportJWK, generateKeyPair } from 'jose'
import { ask, hubSealingKey, me, pinned, profile } from './hub.mjs'
import { Refused, decode, encode, newMessageId, signCompact, signMessage } from './wire.mjs'

const [name, file] = process.argv.slice(2)
const id = newMessageId()
const instant = (hours) => new Date(Date.now() + hours * 3600e3).toISOString()
const draft = JSON.parse(readFileSync(file))
const header = { v: 1, id, sender: me.authority, issued: instant(0), expires: instant(24), salt: encode(randomBytes(16)), ...draft.header }
const message = { header, body: draft.body }

const seal = (signed, to = hubSealingKey(), sealedId = id, by = profile) => by.seal(Buffer.from(JSON.stringify(signed)), to, sealedId)
const changed = (members) => signMessage({ ...message, header: { ...header, ...members } }, me.keys.signing)
const flip = (text) => (text[0] === 'A' ? 'B' : 'A') + text.slice(1)

// Signs any text as it stands: what the JSON of a message cannot say
async function signText (text, typ = 'hub-msg+jws') {
  const [head, payload, signature] = (await signCompact(Buffer.from(text), me.keys.signing, typ)).split('.')
  return { payload, signatures: [{ protected: head, signature }] }
}

async function alter (change) {
  const envelope = JSON.parse(await seal(await signMessage(message, me.keys.signing)))
  change(envelope)
  return JSON.stringify(envelope)
}

const cases = {
  'altered ciphertext': () => alter((envelope) => { envelope.ciphertext = flip(envelope.ciphertext) }),
  'altered protected header': () => alter((envelope) => {
    const head = JSON.parse(decode(envelope.protected))
    head.hub.id = newMessageId()
    envelope.protected = encode(JSON.stringify(head))
  }),
  'sealed to two': () => alter((envelope) => {
    const head = JSON.parse(decode(envelope.protected))
    const epk = head.epk && { epk: head.epk }
    delete head.epk
    const second = structuredClone(envelope.recipients[0])
    Object.assign(envelope.recipients[0].header, epk)
    Object.assign(second.header, epk, { kid: me.keys.sealing.kid })
    envelope.recipients.push(second)
    head.hub.to.push(me.keys.sealing.kid)
    envelope.protected = encode(JSON.stringify(head))
  }),
  'sealed under the other profile': async () => {
    const other = me.profile === 'pq-1' ? 'classic-1' : 'pq-1'
    const kty = other === 'pq-1' ? 'AKP' : 'EC'
    const to = pinned.keys.find((one) => one.use === 'sealing' && one.jwk.kty === kty)
    return seal(await signMessage(message, me.keys.signing), to, id, await import(`./${other}.mjs`))
  },
  'another id in the seal': async () => seal(await signMessage(message, me.keys.signing), hubSealingKey(), newMessageId()),
  'altered payload': async () => {
    const signed = await signMessage(message, me.keys.signing)
    const other = { ...message, header: { ...header, urgency: 'N' } }
    return seal({ ...signed, payload: encode(JSON.stringify(other)) })
  },
  'signed with the client key': async () => seal(await signMessage(message, me.keys.client_auth)),
  'signed with a key nobody knows': async () => {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true })
    return seal(await signMessage(message, { kid: 'nobody', jwk: await exportJWK(privateKey) }))
  },
  'signed as another': async () => seal(await changed({ sender: 'vn.mps' })),
  'signed as a receipt': async () => seal(await signText(JSON.stringify(message), 'hub-receipt+jws')),
  'alg none': async () => {
    const signed = await signMessage(message, me.keys.signing)
    const head = { alg: 'none', kid: me.keys.signing.kid, typ: 'hub-msg+jws' }
    return seal({ ...signed, signatures: [{ ...signed.signatures[0], protected: encode(JSON.stringify(head)) }] })
  },
  'a member twice': async () => seal(await signText(JSON.stringify(message).replace('{"header"', '{"body":{},"header"'))),
  'a float': async () => seal(await signText(JSON.stringify(message).replace('"v":1', '"v":1.0'))),
  'past its expiry': async () => seal(await changed({ issued: instant(-2), expires: instant(-1) })),
  'from the future': async () => seal(await changed({ issued: instant(1) })),
  'an unknown field': async () => seal(await changed({ colour: 'blue' })),
  'a purpose outside the agreement': async () => seal(await changed({ purpose: 'tax_collection' }))
}

try {
  await ask('POST', '/v1/messages', await cases[name](), 'application/jose+json')
  console.log(JSON.stringify({ code: 'accepted' }))
} catch (error) {
  if (!(error instanceof Refused) || !error.cause?.request_sha256) throw error
  console.log(JSON.stringify(error.cause))
}
