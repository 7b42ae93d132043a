// A task for Gregor in JavaScript: `export const { describe, simpleProcessor, lifecycle } = task({ … })`. Turns what a task says into the exports of
// the contract in wit/, and gathers what it emits into one call of the host. Refuses to keep anything between two calls: what must last
// belongs into a store.

import * as context from "gregor:task/context@0.1.0";
import { emitBatch } from "gregor:task/output@0.1.0";
import * as telemetry from "gregor:task/telemetry@0.1.0";
import { Columns } from "./columns.js";
import { TaskError } from "./error.js";

export { fatal, poison, retryable } from "./error.js";
export { counter, store } from "./store.js";
export { bytes, text } from "./text.js";

/** Records that are gathered before they are handed to the host, and bytes: they bound the memory of a call that emits much. */
const GATHERED_RECORDS = 4096;
const GATHERED_BYTES = 256 * 1024;

/**
 * The exports of a task.
 * - `name`, `version`: for people; `inputs`, `outputs`, `stores`: names, as job files use them.
 * - `init()`: called in every fresh instance; may read its configuration, but neither write nor emit.
 * - `process(record, out)`: one record, `{ key, value, offset, timestamp, partition, input, headers }`; or, for bulk calls on stores,
 *   `processBatch(records, out)`: the records of a batch. Either is part of a transaction: if it throws, nothing of the batch happened.
 * - `onEnd(input, out)`: an input has ended; called again as long as it answers `true`.
 */
export function task({ name, version = "0.1.0", inputs, outputs, stores = [], init, process, processBatch = oneByOne(process), onEnd }) {
    const port = (name) => ({ name, schema: null });
    const descriptor = {
        name,
        version,
        inputs: inputs.map(port),
        outputs: outputs.map(port),
        stores: stores.map((name) => ({ name, schemaVersion: 1 })),
    };
    return {
        describe: { describe: () => descriptor },
        simpleProcessor: {
            process: (records) =>
                guarded(() => {
                    const out = new Output(outputs);
                    processBatch(records, out);
                    return out.finish();
                }),
        },
        lifecycle: {
            init: () => guarded(() => init?.()),
            onEnd: (input) =>
                guarded(() => {
                    const out = new Output(outputs);
                    const more = onEnd?.(inputs[input], out);
                    out.finish();
                    return more ? "more" : "done";
                }),
        },
    };
}

/** A value of the stage's `config`, as its text in the job file, or `null`. */
export const config = context.config;

/** The time of the call in milliseconds since 1970; `Date` does not know it. */
export const now = context.now;

/** So many random bytes, the same if the call is repeated; `Math.random` draws the same numbers in every instance. */
export const random = context.random;

/** Writes a line into the task's log; `level` is "trace", "debug", "info", "warn" or "error". */
export function log(level, message) {
    telemetry.log(level, String(message), []);
}

/** What a call emits and rejects. */
class Output {
    #ports;
    #columns = new Columns();
    #outputs = [];
    #causes = [];
    #rejections = [];
    #record = null;

    constructor(ports) {
        this.#ports = ports;
    }

    /** What follows derives from the record at this index of the batch; `process` is called with this done. */
    of(index) {
        this.#record = index;
        return this;
    }

    /** Emits a record: key and value are texts, bytes, or `null`. */
    emit(port, key, value) {
        const output = this.#ports.indexOf(port);
        if (output < 0) throw new TaskError("fatal", `there is no output ${port}, but ${this.#ports}`);
        const gathered = this.#outputs.push(output);
        if (this.#record !== null) this.#causes.push(this.#record);
        this.#columns.push(key);
        this.#columns.push(value);
        if (gathered >= GATHERED_RECORDS || this.#columns.size >= GATHERED_BYTES) this.#flush();
    }

    /** Leaves the record out, and counts it; `reason` is for people. */
    skip(reason) {
        this.#rejections.push({ index: this.#record, action: "skip", reason });
    }

    /** Gives the rest to the host; answers the rejections. */
    finish() {
        if (this.#outputs.length > 0) this.#flush();
        return this.#rejections;
    }

    #flush() {
        const { data, ends, nulls } = this.#columns.finish();
        const [keyEnds, valueEnds] = [new Uint32Array(ends.length / 2), new Uint32Array(ends.length / 2)];
        for (let at = 0; at < keyEnds.length; at++) {
            keyEnds[at] = ends[2 * at];
            valueEnds[at] = ends[2 * at + 1];
        }
        const [outputs, causes] = [new Uint32Array(this.#outputs), new Uint32Array(this.#causes)];
        emitBatch({ outputs, causes, timestamps: [], partitions: [], data, keyEnds, valueEnds, nulls, headers: null });
        this.#columns = new Columns();
        this.#outputs = [];
        this.#causes = [];
    }
}

function oneByOne(process) {
    return (records, out) => records.forEach((record, index) => process(record, out.of(index)));
}

function guarded(work) {
    try {
        return work();
    } catch (error) {
        throw answer(error);
    }
}

/** What a task throws as an answer of the contract: unless it says otherwise, a record is at fault. */
function answer(error) {
    if (error instanceof TaskError) return error;
    const refused = error?.payload;
    if (refused?.tag === undefined) return new TaskError("poison", `${error}\n${error?.stack ?? ""}`);
    return new TaskError(refused.tag === "no-such-store" ? "fatal" : "poison", `store: ${refused.tag} ${refused.val ?? ""}`);
}
