// How a call fails as a whole. Refuses to be caught: whoever throws one of these means the host.

/** An answer of the contract: `tag` says what the host shall do. */
export class TaskError extends Error {
    constructor(tag, message) {
        super(message);
        this.payload = { tag, val: message };
    }
}

/** To be thrown where something outside of the records is at fault: the batch is tried again, a little later. */
export const retryable = (message) => new TaskError("retryable", message);

/** To be thrown where a record is at fault: the host finds it, and does what the job's `on-error` says. */
export const poison = (message) => new TaskError("poison", message);

/** To be thrown where the job can't go on: it stops at its last checkpoint. */
export const fatal = (message) => new TaskError("fatal", message);
