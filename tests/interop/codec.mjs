// node codec.mjs: reads {"do", ...} from standard input, does it with the modules of docs/partners.md, prints {"result"} or {"code"}
import { readFileSync } from 'node:fs'
import { AEAD_AES_256_GCM, CipherSuite } from 'hpke'
import { KDF_SHAKE256, KEM_MLKEM768_X25519 } from '@panva/hpke-noble'
import { flattenedVerify, generalDecrypt, importJWK } from 'jose'
import { Refused, decode, verifyCopy, verifyDetached } from './wire.mjs'

const task = JSON.parse(readFileSync(0))
const profileOf = (jwk) => import(`./${jwk.kty === 'AKP' ? 'pq-1' : 'classic-1'}.mjs`)

const tasks = {
  seal: async ({ text, to, id }) => (await profileOf(to.jwk)).seal(Buffer.from(text), to, id),
  open: async ({ envelope, own }) => (await profileOf(own.jwk)).open(envelope, own),
  sealPart: async ({ text, to, id, path }) => (await profileOf(to.jwk)).sealPart(Buffer.from(text), to, id, path),
  openPart: async ({ part, own, id, path }) => (await (await profileOf(own.jwk)).openPart(part, own, id, path)).toString(),
  verify: ({ signed, hubKeys, senderKeys }) => verifyCopy(signed, hubKeys, async () => senderKeys),
  detached: async ({ jws, text, keys, typ }) => (await verifyDetached(jws, Buffer.from(text), keys, typ)).toString(),
  signatures: ({ signed, keys }) => Promise.all(signed.signatures.map(async ({ protected: head, signature }) => {
    const { kid, typ } = JSON.parse(decode(head))
    await flattenedVerify({ payload: signed.payload, protected: head, signature }, await importJWK(keys[kid], 'ES256'))
    return typ
  })),
  // one entry of an envelope for several, by the libraries alone
  'classic entry': async ({ envelope, own }) => {
    const { plaintext } = await generalDecrypt(envelope, await importJWK(own, 'ECDH-ES+A256KW'))
    return Buffer.from(plaintext).toString()
  },
  'pq entry': async ({ envelope, own }) => {
    const suite = new CipherSuite(KEM_MLKEM768_X25519, KDF_SHAKE256, AEAD_AES_256_GCM)
    const entry = envelope.recipients.find((one) => one.header.kid === own.kid)
    const info = Buffer.from('4a4f53452d48504b452072637074ff4132353647434dff', 'hex')
    const privateKey = await suite.DeserializePrivateKey(decode(own.priv), false)
    const octets = await suite.Open(privateKey, decode(entry.header.ek), decode(entry.encrypted_key), { info })
    const key = await crypto.subtle.importKey('raw', octets, 'AES-GCM', false, ['decrypt'])
    const gcm = { name: 'AES-GCM', iv: decode(envelope.iv), additionalData: Buffer.from(envelope.protected) }
    const sealed = Buffer.concat([decode(envelope.ciphertext), decode(envelope.tag)])
    return Buffer.from(await crypto.subtle.decrypt(gcm, key, sealed)).toString()
  }
}

try {
  console.log(JSON.stringify({ result: await tasks[task.do](task) }))
} catch (error) {
  if (!(error instanceof Refused)) throw error
  console.log(JSON.stringify({ code: error.message }))
}
