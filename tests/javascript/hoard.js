// A bad guest: it passes records on, and keeps a block of memory for each batch. Each instance that is made adds 1 to the counter `instances`.

import { Counter } from "gregor:task/telemetry@0.1.0";
import { task } from "../../plugins/js/sdk/gregor.js";

/** Bytes of a block. */
const BLOCK = 128 * 1024;

const hoarded = [];

export const { describe, simpleProcessor, lifecycle } = task({
    name: "hoard",
    inputs: ["in"],
    outputs: ["out"],

    init() {
        new Counter("instances", []).add(1);
    },

    processBatch(records, out) {
        hoarded.push(new Uint8Array(BLOCK).fill(1));
        records.forEach(({ key, value }, index) => out.of(index).emit("out", key, value));
    },
});
