'use strict';
// Read the chain's clock, and advance it without ever decreasing slots.
const { setTimeout } = require('timers/promises');

const CLOCK = 'SysvarC1ock11111111111111111111111111111111';
const COARSE_MS = 2000; // the clock counts whole seconds: aim this much before an epoch's end first
const LOOK_MS = 5;
const MOST_LOOKS = 1000;
const MOST_CUT = 1.001; // two jumps in each epoch of 432,000 slots

const clockData = async (call) =>
  Buffer.from((await call('getAccountInfo', CLOCK, { encoding: 'base64' })).value.data[0], 'base64');

/** Unix seconds of the Clock sysvar, as programs see them. */
async function chainTime(call) {
  return Number((await clockData(call)).readBigInt64LE(32));
}

const epochInfo = (call) => call('getEpochInfo', { commitment: 'processed' });

/**
 * `jump(target)` is surfnet_timeTravel without decreasing slots; it resolves to what getEpochInfo answers then.
 * `alone(act)` executes `act` while no client is answered: what Surfpool shows in between is not shown to clients.
 */
function jumper(call, alone = (act) => act()) {
  return (target) => alone(async () => {
    const before = (await epochInfo(call)).absoluteSlot;
    let info = await call('surfnet_timeTravel', target);
    // Surfpool's own epochs are a slot too long, and a jump drops that slot: a short one would decrease the slot.
    if (info.absoluteSlot <= before) info = await call('surfnet_timeTravel', { absoluteSlot: before + 1 });
    await showSlot(call, info.absoluteSlot);
    return info;
  });
}

/** Until the next block, Surfpool's Clock sysvar has the number of the slot in its epoch for the slot. */
async function showSlot(call, absoluteSlot) {
  const data = await clockData(call);
  if (data.readBigUInt64LE(0) >= BigInt(absoluteSlot)) return;
  data.writeBigUInt64LE(BigInt(absoluteSlot), 0);
  await call('surfnet_setAccount', CLOCK, { data: data.toString('hex') });
}

/**
 * Travel to a time (ms). After a jump over an epoch's end Surfpool counts the excess slots as slots of the old epoch,
 * and drops them at the next one: slots would decrease. So a later epoch is reached step by step: jump to the last
 * slot of an epoch, let the chain itself cross the boundary, continue.
 */
async function travel(call, jump, targetMs, slotMs) {
  for (;;) {
    const { epoch, slotIndex, slotsInEpoch } = await epochInfo(call);
    const now = (await chainTime(call)) * 1000;
    const room = slotsInEpoch - 1 - slotIndex;
    if ((targetMs - now + COARSE_MS) / slotMs < room) return jump({ absoluteTimestamp: targetMs });
    await toTheEnd(call, jump, now + room * slotMs, slotMs);
    await nextEpoch(call, epoch);
  }
}

/** Jump twice: the first jump lands shortly before the epoch's end and shows the exact remaining distance. */
async function toTheEnd(call, jump, endMs, slotMs) {
  const near = endMs - COARSE_MS;
  if (near <= ((await chainTime(call)) + 1) * 1000) return; // so close that the chain reaches it by itself
  const { slotIndex, slotsInEpoch } = await jump({ absoluteTimestamp: near });
  await jump({ absoluteTimestamp: near + (slotsInEpoch - 1 - slotIndex) * slotMs });
}

async function nextEpoch(call, epoch) {
  for (let look = 0; look < MOST_LOOKS; look += 1) {
    if ((await epochInfo(call)).epoch > epoch) return;
    await setTimeout(LOOK_MS);
  }
  throw new Error(`the chain did not step out of epoch ${epoch}`);
}

/** How many slots a travel to a time (ms) passes at most: each jump cuts up to a second off the time, not off the slots. */
async function slotsUntil(call, targetMs, slotMs) {
  const distanceMs = Math.max(0, targetMs - (await chainTime(call)) * 1000);
  return Math.ceil((distanceMs / slotMs) * MOST_CUT);
}

module.exports = { chainTime, epochInfo, jumper, slotsUntil, travel };
