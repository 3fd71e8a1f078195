'use strict';
// Read the chain's clock, and advance it without ever decreasing slots.
const { setTimeout } = require('timers/promises');

const CLOCK = 'SysvarC1ock11111111111111111111111111111111';
const COARSE_MS = 2000; // the clock counts whole seconds: aim this much before an epoch's end first
const LOOK_MS = 5;
const MOST_LOOKS = 1000;

/** Unix seconds of the Clock sysvar, as programs see them. */
async function chainTime(call) {
  const { value } = await call('getAccountInfo', CLOCK, { encoding: 'base64' });
  return Number(Buffer.from(value.data[0], 'base64').readBigInt64LE(32));
}

const epochInfo = (call) => call('getEpochInfo', { commitment: 'processed' });
const jump = (call, absoluteTimestamp) => call('surfnet_timeTravel', { absoluteTimestamp });

/**
 * surfnet_timeTravel to a time (ms). After a jump over an epoch's end Surfpool counts the excess slots as
 * slots of the old epoch, and drops them at the next one: slots would decrease. So a later epoch is reached
 * step by step: jump to the last slot of an epoch, let the chain itself cross the boundary, continue.
 */
async function travel(call, targetMs, slotMs) {
  for (;;) {
    const { epoch, slotIndex, slotsInEpoch } = await epochInfo(call);
    const now = (await chainTime(call)) * 1000;
    const room = slotsInEpoch - 1 - slotIndex;
    if ((targetMs - now + COARSE_MS) / slotMs < room) return jump(call, targetMs);
    await toTheEnd(call, now + room * slotMs, slotMs);
    await nextEpoch(call, epoch);
  }
}

/** Jump twice: the first jump lands shortly before the epoch's end and shows the exact remaining distance. */
async function toTheEnd(call, endMs, slotMs) {
  const near = endMs - COARSE_MS;
  if (near <= ((await chainTime(call)) + 1) * 1000) return; // so close that the chain reaches it by itself
  const { slotIndex, slotsInEpoch } = await jump(call, near);
  await jump(call, near + (slotsInEpoch - 1 - slotIndex) * slotMs);
}

async function nextEpoch(call, epoch) {
  for (let look = 0; look < MOST_LOOKS; look += 1) {
    if ((await epochInfo(call)).epoch > epoch) return;
    await setTimeout(LOOK_MS);
  }
  throw new Error(`the chain did not step out of epoch ${epoch}`);
}

module.exports = { chainTime, travel };
