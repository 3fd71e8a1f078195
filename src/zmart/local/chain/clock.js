'use strict';
// Read the chain's clock, and advance it without ever decreasing slots.
const { setTimeout } = require('timers/promises');

const CLOCK = 'SysvarC1ock11111111111111111111111111111111';
const COARSE_MS = 2000; // the clock counts whole seconds: the first jump aims this long before an epoch's end
const LOOK_MS = 5;
const STEP_OUT_MS = 5000; // and two slots: so long after a jump to its end an epoch may last
const A_JUMP_S = 300; // readers of the chain take a smaller step of its clock as it is
const SECONDS_PER_SLOT = 20; // of a larger step, behind A_JUMP_S (zmart/chain/slot_bounds.py)
const LEAST_STEP_S = 2; // the clock counts whole seconds
const MOST_CUT = 1.001; // a factor that covers what two jumps cut off in each epoch of 432,000 slots

const clockData = async (call) =>
  Buffer.from((await call('getAccountInfo', CLOCK, { encoding: 'base64' })).value.data[0], 'base64');

/** Read the Unix time, in seconds, of the Clock sysvar, which programs see. */
async function chainTime(call) {
  return Number((await clockData(call)).readBigInt64LE(32));
}

const epochInfo = (call) => call('getEpochInfo', { commitment: 'processed' });

/**
 * Return `jump(target)`, a surfnet_timeTravel that never decreases the slot. It resolves to the epoch info after the
 * jump. `alone(act)` executes `act` while no client is answered: clients don't see Surfpool's states during the jump.
 */
function jumper(call, alone = (act) => act()) {
  return (target) => alone(async () => {
    const before = (await epochInfo(call)).absoluteSlot;
    let info = await call('surfnet_timeTravel', target);
    // Surfpool's epochs are one slot too long, and a jump drops that slot: a short jump would decrease the slot.
    if (info.absoluteSlot <= before) info = await call('surfnet_timeTravel', { absoluteSlot: before + 1 });
    await showSlot(call, info.absoluteSlot);
    return info;
  });
}

/** Write the slot into the Clock sysvar. Between a jump and the next block, Surfpool has the slot's index in its epoch
 * there. */
async function showSlot(call, absoluteSlot) {
  const data = await clockData(call);
  if (data.readBigUInt64LE(0) >= BigInt(absoluteSlot)) return;
  data.writeBigUInt64LE(BigInt(absoluteSlot), 0);
  await call('surfnet_setAccount', CLOCK, { data: data.toString('hex') });
}

/**
 * Set the clock to `targetMs` (Unix time in ms); resolves to the epoch info then. After a jump over an epoch's end,
 * Surfpool counts the excess slots as slots of the old epoch and drops them in the next epoch: slots would decrease.
 * So a later epoch is reached step by step: jump to the last slots of an epoch, wait until the chain has entered the
 * next epoch, continue.
 */
async function travel(call, jump, targetMs, slotMs) {
  for (;;) {
    const { epoch, slotIndex, slotsInEpoch } = await epochInfo(call);
    const now = (await chainTime(call)) * 1000;
    const room = slotsInEpoch - 1 - slotIndex;
    if ((targetMs - now + COARSE_MS) / slotMs < room) return jump({ absoluteTimestamp: targetMs });
    await toTheEnd(call, jump, now + room * slotMs, slotMs);
    await nextEpoch(call, epoch, slotMs);
  }
}

/** Jump to the end of the epoch at `endMs`, in two jumps: the first lands COARSE_MS earlier and returns the exact
 * distance for the second. */
async function toTheEnd(call, jump, endMs, slotMs) {
  const near = endMs - COARSE_MS;
  if (near <= ((await chainTime(call)) + 1) * 1000) return; // the chain reaches the end without a jump, in seconds
  const { slotIndex, slotsInEpoch } = await jump({ absoluteTimestamp: near });
  await jump({ absoluteTimestamp: near + (slotsInEpoch - 1 - slotIndex) * slotMs });
}

async function nextEpoch(call, epoch, slotMs) {
  for (const end = Date.now() + STEP_OUT_MS + 2 * slotMs; Date.now() < end;) {
    if ((await epochInfo(call)).epoch > epoch) return;
    await setTimeout(LOOK_MS);
  }
  throw new Error(`the chain did not step out of epoch ${epoch}`);
}

/** Advance the slots after the clock has moved by `movedS` seconds without them, so that they account for the time:
 * readers of the chain take such a step for a wrong answer. That takes as long as the slots on the chain's clock. */
async function accountFor(call, jump, movedS, slotMs) {
  if (movedS <= A_JUMP_S) return;
  const slots = (movedS - A_JUMP_S) / (SECONDS_PER_SLOT - slotMs / 1000);
  const seconds = Math.max(LEAST_STEP_S, Math.ceil((slots * slotMs) / 1000));
  await travel(call, jump, ((await chainTime(call)) + seconds) * 1000, slotMs);
}

/** Return the most slots that travel() passes until `targetMs` (Unix time in ms). Each jump shortens the time by up to
 * a second, but not the slots: MOST_CUT covers the difference. */
async function slotsUntil(call, targetMs, slotMs) {
  const distanceMs = Math.max(0, targetMs - (await chainTime(call)) * 1000);
  return Math.ceil((distanceMs / slotMs) * MOST_CUT);
}

module.exports = { accountFor, chainTime, epochInfo, jumper, slotsUntil, travel };
