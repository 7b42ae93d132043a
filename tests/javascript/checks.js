// A guest that tries what the SDK offers, or, as its config `mode` says, what goes wrong. What is not as it should be stops the job.

import { bytes, config, counter, fatal, log, now, random, store, task, text } from "../../plugins/js/sdk/gregor.js";

const things = store("things");
const numbers = store("numbers");
const nowhere = store("nowhere");

const MODES = {
    nothing() {},
    wrongStore: () => nowhere.get("key"),
    wrongOutput: (record, out) => out.emit("nowhere", "key", "value"),
    notACounter() {
        things.put("text", "four");
        things.add("text", 1);
    },
    typo: (record) => record.value.nothing.more,
    stop() {
        throw fatal("no more");
    },
    sdk,
};

export const { describe, simpleProcessor, lifecycle } = task({
    name: "checks",
    inputs: ["in"],
    outputs: ["out", "other"],
    stores: ["things", "numbers"],
    process: (record, out) => MODES[config("mode")](record, out),
});

function sdk(record, out) {
    texts();
    stores();
    scans();
    same([config("nothing"), now() > 1e12, random(5).length], [null, true, 5]);
    log("info", "checked");
    // A byte that is no character, nothing, a number; a text that is not ASCII beside bytes.
    out.emit("out", Uint8Array.of(0xff), null);
    out.emit("other", "größe", 12345678901234567890n);
    out.emit("out", null, "\ud800 alone");
    out.emit("out", bytes("é"), 7);
    out.emit("out", "", record.value);
}

function texts() {
    for (const each of ["", "abc", "\0\x7f", "é€😀", "x".repeat(100_000) + "ß"]) same(text(bytes(each)), each);
    same([...bytes("é€😀")], [0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80]);
    same(text(Uint8Array.of(0x61, 0xf0, 0x9f, 0x98, 0xe2, 0x82, 0xac, 0xc3)), "a\ufffd€\ufffd");
    same(text(null), "");
}

function stores() {
    same(things.get("a"), null);
    things.put("a", "one");
    things.put(Uint8Array.of(0xc3, 0xa9), Uint8Array.of(0, 255));
    same(text(things.get("a")), "one");
    same([...things.get("é")], [0, 255]);
    things.delete("a");
    same(things.get("a"), null);
    things.putMany(["x", "y", "ü"], ["1", null, bytes("ö")]);
    same(things.getMany(["ü", "y", "x"]).map((value) => value && text(value)), ["ö", null, "1"]);
    same([numbers.add("n", 5), numbers.add("n", -7)], [5, -2]);
    numbers.addMany(["n", "m", "n"], 10n ** 18n);
    same([counter(numbers.get("n")), counter(numbers.get("m"))], [2n * 10n ** 18n - 2n, 10n ** 18n]);
}

function scans() {
    const names = Array.from({ length: 2500 }, (_, at) => `k${String(at).padStart(4, "0")}`);
    things.putMany(names, names);
    const keys = (range) => Array.from(things.scan(range), ([key]) => text(key));
    same(keys({ start: "k", end: "l" }), names);
    same(keys({ after: "k2497", end: "l" }), ["k2498", "k2499"]);
    same(keys({ start: "k0000", end: "k0003", reverse: true }), ["k0002", "k0001", "k0000"]);
    same(keys({ start: "" }).length, keys().length);
    // A loop that is left early closes its cursor: more of them than may be open at a time.
    for (let times = 0; times < 100; times++) for (const _ of things.scan()) break;
}

function same(found, expected) {
    const shown = (value) => JSON.stringify(value, (_, part) => (typeof part === "bigint" ? `${part}n` : part));
    if (shown(found) !== shown(expected)) throw fatal(`found ${shown(found)}, expected ${shown(expected)}`);
}
