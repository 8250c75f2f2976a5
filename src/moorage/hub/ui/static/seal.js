// What must happen in the browser, so that the hub never holds a secret: keys, envelopes and
// certificate requests, by WebCrypto alone. The envelope is that of moorage.kit.seal.

const ALGORITHM = "P256-HKDF-SHA256-A256GCM";
const CURVE = { name: "ECDH", namedCurve: "P-256" };
const encoder = new TextEncoder();

export function base64(bytes) {
  let text = "";
  for (const byte of new Uint8Array(bytes)) text += String.fromCharCode(byte);
  return btoa(text);
}

export function pem(label, bytes) {
  const lines = base64(bytes).match(/.{1,64}/g).join("\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

export function unpem(text) {
  const body = text.replace(/-----[^-]+-----/g, "").replace(/\s/g, "");
  return Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
}

export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
}

export async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

export function hex(bytes) {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// A string as Python's json.dumps writes it: both sides must authenticate the same bytes.
function quoted(text) {
  const escape = (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, escape);
}

function contextBytes(context) {
  const pairs = Object.keys(context).sort().map((key) => `[${quoted(key)}, ${quoted(context[key])}]`);
  return encoder.encode(`[${quoted(ALGORITHM)}, [${pairs.join(", ")}]]`);
}

async function encrypt(key, plain, additionalData) {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const how = { name: "AES-GCM", iv, additionalData };
  return concat(iv, new Uint8Array(await crypto.subtle.encrypt(how, key, plain)));
}

async function wrap(contentKey, recipientPem, aad) {
  const der = unpem(recipientPem);
  const id = await sha256(der);
  const theirs = await crypto.subtle.importKey("spki", der, CURVE, false, []);
  const ours = await crypto.subtle.generateKey(CURVE, false, ["deriveBits"]);
  const point = new Uint8Array(await crypto.subtle.exportKey("raw", ours.publicKey));
  const shared = await crypto.subtle.deriveBits({ name: "ECDH", public: theirs }, ours.privateKey, 256);
  const secret = await crypto.subtle.importKey("raw", shared, "HKDF", false, ["deriveKey"]);
  const info = concat(encoder.encode("moorage seal v1"), point, id);
  const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info };
  const key = await crypto.subtle.deriveKey(how, secret, { name: "AES-GCM", length: 256 }, false, ["encrypt"]);
  return { recipient: hex(id), ephemeral: base64(point), wrapped: base64(await encrypt(key, contentKey, aad)) };
}

export async function seal(secret, recipients, context) {
  const aad = contextBytes(context);
  const raw = crypto.getRandomValues(new Uint8Array(32));
  const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt"]);
  const ciphertext = base64(await encrypt(key, encoder.encode(secret), aad));
  const keys = [];
  for (const recipient of recipients) keys.push(await wrap(raw, recipient, aad));
  return { algorithm: ALGORITHM, context, ciphertext, keys };
}

// What a sealed password is bound to: moorage.resources.account.credential_context.
export async function credentialContext(installation, name, spec) {
  const trust = { insecure: spec.trust.insecure ?? false };
  for (const field of ["caBundle", "sha256"]) if (spec.trust[field]) trust[field] = spec.trust[field];
  const parts = Object.keys(trust).sort().map((key) => {
    const value = trust[key];
    return `${quoted(key)}:${typeof value === "string" ? quoted(value) : value}`;
  });
  const digest = hex(await sha256(encoder.encode(`{${parts.join(",")}}`)));
  return { installation, kind: "CloudAccount", name, server: spec.server, username: spec.username, trust: digest };
}

export async function recoveryPair() {
  const pair = await crypto.subtle.generateKey(CURVE, true, ["deriveBits"]);
  const secret = pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const open = pem("PUBLIC KEY", await crypto.subtle.exportKey("spki", pair.publicKey));
  return { secret, open };
}

// DER, as far as a certificate request needs it.
function der(tag, ...parts) {
  const body = concat(...parts);
  const size = [];
  if (body.length < 128) size.push(body.length);
  else if (body.length < 256) size.push(0x81, body.length);
  else size.push(0x82, body.length >> 8, body.length & 255);
  return concat(Uint8Array.of(tag, ...size), body);
}

function integer(bytes) {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const body = bytes.slice(start);
  return body[0] & 0x80 ? der(2, Uint8Array.of(0), body) : der(2, body);
}

const COMMON_NAME = Uint8Array.of(6, 3, 0x55, 4, 3);
const ECDSA_SHA256 = Uint8Array.of(6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2);

export async function certificateRequest(user) {
  const how = { name: "ECDSA", namedCurve: "P-256" };
  const pair = await crypto.subtle.generateKey(how, true, ["sign"]);
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey));
  const subject = der(0x30, der(0x31, der(0x30, COMMON_NAME, der(0x0c, encoder.encode(user)))));
  const info = der(0x30, Uint8Array.of(2, 1, 0), subject, spki, Uint8Array.of(0xa0, 0));
  const raw = new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, info));
  const signature = der(0x30, integer(raw.slice(0, 32)), integer(raw.slice(32)));
  const whole = der(0x30, info, der(0x30, ECDSA_SHA256), der(3, Uint8Array.of(0), signature));
  const key = pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  return { key, csr: pem("CERTIFICATE REQUEST", whole) };
}
