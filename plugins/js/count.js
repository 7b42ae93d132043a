// Counts words. Input `words`: the key is a word. Output `counts`: at the end of the input, one record a word, its value the decimal count.
// Refuses any other time to emit: the config `emit` knows `at-end` only.

import { config, counter, fatal, store, task } from "./sdk/gregor.js";

/** Word → how often it occurred. */
const counts = store("counts");
/** How far the words were emitted: `place` → the last one. It is kept in a store, because an instance may vanish between two pieces. */
const progress = store("progress");

/** Records that one call emits, few enough for its time; and the bytes of their words, about: an eighth of what it may emit. */
const PIECE_RECORDS = 10_000;
const PIECE_BYTES = 8 * 1024 * 1024;

export const { describe, simpleProcessor, lifecycle } = task({
    name: "count",
    inputs: ["words"],
    outputs: ["counts"],
    stores: ["counts", "progress"],

    init() {
        const emit = config("emit") ?? "at-end";
        if (emit !== "at-end") throw fatal(`config emit = ${JSON.stringify(emit)} is not known; the one value is "at-end"`);
    },

    processBatch(records, out) {
        const words = records.map((record) => record.key);
        words.forEach((word, index) => word ?? out.of(index).skip("a record without key has no word to be counted"));
        counts.addMany(words.filter((word) => word !== null), 1);
    },

    onEnd(input, out) {
        let [records, bytes] = [0, 0];
        for (const [word, count] of counts.scan({ after: progress.get("place") })) {
            out.emit("counts", word, counter(count));
            records += 1;
            bytes += word.length;
            if (records >= PIECE_RECORDS || bytes >= PIECE_BYTES) {
                progress.put("place", word);
                return true;
            }
        }
        return false;
    },
});
