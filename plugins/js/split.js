// Cuts lines into words. Input `lines`: the value is a line of text. Output `words`: the key is a word, the value is empty. Refuses nothing: a
// line without a word emits none.

import { task, text } from "./sdk/gregor.js";

/**
 * What is left of a piece between white space when punctuation of ASCII is trimmed off both ends, if anything is. White space is what has the
 * property White_Space, which is not what `\s` stands for: that knows U+FEFF, and not U+0085.
 */
const WORD = /[^\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000!-\/:-@[-`{-~](?:[^\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*[^\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000!-\/:-@[-`{-~])?/g;

export const { describe, simpleProcessor, lifecycle } = task({
    name: "split",
    inputs: ["lines"],
    outputs: ["words"],

    process({ value }, out) {
        // No white space has a case, so a line as a whole has the small letters of its words, the final sigma included.
        for (const word of text(value).toLowerCase().match(WORD) ?? []) out.emit("words", word, "");
    },
});
