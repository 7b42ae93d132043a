/** Types of the SDK; what each thing does stands in `gregor.js` and `store.js`. */

/** What goes in as a key or value: a text becomes UTF-8, a number its decimal digits. */
export type Part = string | Uint8Array | number | bigint;

export interface Header {
    name: string;
    value: Uint8Array;
}

export interface InputRecord {
    input: number;
    partition: number;
    offset: number;
    timestamp: number;
    key: Uint8Array | null;
    value: Uint8Array | null;
    headers: Header[];
}

export interface Output {
    of(index: number): this;
    emit(port: string, key: Part | null, value: Part | null): void;
    skip(reason: string): void;
}

export interface Task {
    name: string;
    version?: string;
    inputs: string[];
    outputs: string[];
    stores?: string[];
    init?(): void;
    process?(record: InputRecord, out: Output): void;
    processBatch?(records: InputRecord[], out: Output): void;
    onEnd?(input: string, out: Output): boolean | void;
}

export interface Range {
    start?: Part;
    after?: Part | null;
    end?: Part;
    reverse?: boolean;
}

export interface Store {
    get(key: Part): Uint8Array | null;
    put(key: Part, value: Part): void;
    delete(key: Part): void;
    add(key: Part, amount: number): number;
    getMany(keys: Iterable<Part>): (Uint8Array | null)[];
    putMany(keys: Iterable<Part>, values: Iterable<Part | null>): void;
    addMany(keys: Iterable<Part>, amount: number | bigint): void;
    scan(range?: Range): Generator<[Uint8Array, Uint8Array]>;
}

/** What the host calls. */
export function task(task: Task): { describe: object; simpleProcessor: object; lifecycle: object };
export function store(name: string): Store;
export function counter(value: Uint8Array): bigint;
export function text(bytes: Uint8Array | null): string;
export function bytes(part: Part): Uint8Array;
export function config(key: string): string | null;
export function now(): number;
export function random(length: number): Uint8Array;
export function log(level: "trace" | "debug" | "info" | "warn" | "error", message: unknown): void;
export function retryable(message: string): Error;
export function poison(message: string): Error;
export function fatal(message: string): Error;
