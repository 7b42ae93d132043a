// Byte strings in columns, as they cross to the host: all bytes back to back, and where each ends. Refuses to copy one at a time: the engine's own
// functions join them all at once.

import { isAscii, raw, unraw } from "./text.js";

/** Collects texts, bytes and `null`s. */
export class Columns {
    #parts = [];
    /** Which parts are bytes already, by index. */
    #bytes = [];
    #nulls = [];
    /** Characters and bytes so far. */
    size = 0;

    /** Adds a text, bytes, a number, or `null` for nothing. */
    push(part) {
        if (typeof part !== "string") part = this.#text(part);
        this.#parts.push(part);
        this.size += part.length;
    }

    #text(part) {
        if (part === null || part === undefined) {
            this.#nulls.push(this.#parts.length);
            return "";
        }
        if (!(part instanceof Uint8Array)) return String(part);
        this.#bytes.push(this.#parts.length);
        return raw(part);
    }

    /** All of it: `data`, `ends`, and a bit in `nulls` for each that is nothing. */
    finish() {
        let parts = this.#parts;
        // Most texts are ASCII, and it is cheaper to ask all at once.
        if (this.#bytes.length < parts.length && !isAscii(parts.join(""))) {
            const bytes = new Set(this.#bytes);
            parts = parts.map((part, at) => (bytes.has(at) ? part : raw(part)));
        }
        const ends = new Uint32Array(parts.length);
        let end = 0;
        for (let at = 0; at < ends.length; at++) ends[at] = end += parts[at].length;
        const nulls = new Uint8Array(this.#nulls.length > 0 ? (ends.length + 7) >> 3 : 0);
        for (const at of this.#nulls) nulls[at >> 3] |= 1 << (at & 7);
        return { data: unraw(parts.join("")), ends, nulls };
    }

    /** The columns of a list. */
    static of(list) {
        const columns = new Columns();
        for (const part of list) columns.push(part);
        return columns.finish();
    }
}

/** The parts of columns as a list of bytes and `null`s. */
export function list({ data, ends, nulls }) {
    let start = 0;
    return ends.map((end, at) => {
        const part = (nulls[at >> 3] >> (at & 7)) & 1 ? null : data.subarray(start, end);
        start = end;
        return part;
    });
}
