// The demo wallet's key: generated and stored in this browser, for play money of a local chain only.
import { encodeBase58 } from "../../client/zmart-client.js";

const STORAGE_KEY = "zmart-demo-wallet";
// An Ed25519 private key in PKCS #8 (RFC 8410) is this and then its 32 bytes.
const PKCS8 = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));

// The key of this browser, null when it has none: {address, bytes, sign(bytes)}.
export async function load() {
  const stored = localStorage.getItem(STORAGE_KEY);
  return stored ? open(fromBase64(stored)) : null;
}

export async function make() {
  const seed = crypto.getRandomValues(new Uint8Array(32));
  const key = await open(seed);
  localStorage.setItem(STORAGE_KEY, toBase64(seed));
  return key;
}

async function open(seed) {
  if (!window.isSecureContext) {
    throw new Error("This browser allows keys only on pages from this machine or over https: open the page at http://127.0.0.1.");
  }
  const { bytes, sign } = await native(seed).catch(() => noble(seed));
  return { address: encodeBase58(bytes), bytes, sign };
}

async function native(seed) {
  const key = await crypto.subtle.importKey("pkcs8", new Uint8Array([...PKCS8, ...seed]), "Ed25519", true, ["sign"]);
  const { x } = await crypto.subtle.exportKey("jwk", key);
  const bytes = fromBase64(x.replaceAll("-", "+").replaceAll("_", "/"));
  return { bytes, sign: async (message) => new Uint8Array(await crypto.subtle.sign("Ed25519", key, message)) };
}

// Browsers whose WebCrypto does not know the curve (Chromium before 137).
async function noble(seed) {
  const curve = await import("../../vendor/noble/ed25519.js");
  return { bytes: await curve.getPublicKeyAsync(seed), sign: (message) => curve.signAsync(message, seed) };
}
