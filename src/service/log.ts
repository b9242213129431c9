/** What is written down, with facts first: pino's own shape, so that a service passes its logger on. */
export interface Log {
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
}

export const noLog: Log = { info: () => undefined, warn: () => undefined, error: () => undefined }
