// Texts and bytes. QuickJS has no TextEncoder and no TextDecoder, and a loop of its own over the bytes is slow; so bytes pass through strings of
// which each character is one byte, for which the engine has functions. Refuses nothing: what is not UTF-8 becomes U+FFFD.

/**
 * A run of good UTF-8, of bounded length because the engine remembers each turn; or, as its one group, the most of a sequence that is cut short, or
 * a byte that is part of none.
 */
const PARTS =
    /(?:[\0-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}){1,1000}|(\xe0[\xa0-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]|\xed[\x80-\x9f]|\xf0[\x90-\xbf][\x80-\xbf]?|[\xf1-\xf3][\x80-\xbf]{1,2}|\xf4[\x80-\x8f][\x80-\xbf]?|[^])/y;

/** The text that bytes are in UTF-8; that of `null` is empty. Each sequence that is cut short, and each other byte that is wrong, becomes U+FFFD, as in a browser. */
export function text(bytes) {
    if (bytes === null) return "";
    const raw = atob(bytes.toBase64());
    if (isAscii(raw)) return raw;
    try {
        return decodeURIComponent(escape(raw));
    } catch {
        return mended(raw);
    }
}

function mended(raw) {
    let text = "";
    PARTS.lastIndex = 0;
    while (PARTS.lastIndex < raw.length) {
        const [good, broken] = PARTS.exec(raw);
        text += broken === undefined ? decodeURIComponent(escape(good)) : "\ufffd";
    }
    return text;
}

/** A text in UTF-8; bytes stay as they are. */
export function bytes(part) {
    return part instanceof Uint8Array ? part : unraw(raw(String(part)));
}

/** A text in UTF-8, or bytes, as a string of which each character is one byte. */
export function raw(part) {
    if (part instanceof Uint8Array) return atob(part.toBase64());
    return isAscii(part) ? part : unescape(encodeURIComponent(part.toWellFormed()));
}

/** The bytes of such a string. */
export function unraw(raw) {
    return Uint8Array.fromBase64(btoa(raw));
}

/** Whether each character of a text is one byte in UTF-8. */
export function isAscii(text) {
    return !/[^\0-\x7f]/.test(text);
}
