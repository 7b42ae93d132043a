// Stores of a task: they are kept by the host and part of every checkpoint. Keys and values are texts or bytes; what comes back is bytes.
// Refuses to open one before it is used: no store is there yet when a task is built.

import { open } from "gregor:task/state@0.1.0";
import { Columns, list } from "./columns.js";
import { bytes, raw, unraw } from "./text.js";

/** Pairs that a scan fetches at a time. */
const PAGE = 1000;

/** The store of this name, which the task lists in `stores`. */
export const store = (name) => new Store(name);

/** The number in the value of a counter, as a `BigInt`. */
export const counter = (value) => new DataView(value.buffer, value.byteOffset, 8).getBigInt64(0, true);

class Store {
    #name;
    #opened;

    constructor(name) {
        this.#name = name;
    }

    get #handle() {
        return (this.#opened ??= open(this.#name));
    }

    /** The value of a key, or `null`. */
    get(key) {
        return this.#handle.get(bytes(key));
    }

    /** Sets the value of a key. */
    put(key, value) {
        this.#handle.put(bytes(key), bytes(value));
    }

    /** Removes a key; it need not be there. */
    delete(key) {
        this.#handle.delete(bytes(key));
    }

    /** Adds to a counter, where an absent one is 0; answers the sum, exact up to 2^53. */
    add(key, amount) {
        return this.#handle.add(bytes(key), amount);
    }

    /** `get` for a list of keys in one call, which is much cheaper. */
    getMany(keys) {
        return list(this.#handle.getMany(Columns.of(keys)));
    }

    /** `put` for lists of keys and values in one call; a value `null` deletes its key. */
    putMany(keys, values) {
        this.#handle.putMany(Columns.of(keys), Columns.of(values));
    }

    /** Adds the same amount to many counters in one call; a key may occur more than once. */
    addMany(keys, amount) {
        this.#handle.addMany(Columns.of(keys), BigInt64Array.of(BigInt(amount)));
    }

    /** The pairs `[key, value]` in the order of the keys' bytes: from `start` on, or behind `after`, and before `end`. */
    *scan({ start = null, after = null, end = null, reverse = false } = {}) {
        // The first key behind another one is that one with a zero byte.
        const from = after === null ? start : unraw(raw(bytes(after)) + "\0");
        const cursor = this.#handle.scan({ start: from === null ? null : bytes(from), end: end === null ? null : bytes(end), reverse });
        try {
            for (let page = cursor.next(PAGE); page.length > 0; page = cursor.next(PAGE)) yield* page;
        } finally {
            cursor[Symbol.dispose]();
        }
    }
}
