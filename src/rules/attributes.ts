import type { ImageRecord } from './image-record.ts'

/** An attribute that was given: catalogues state "none" as null or as an empty text as well. */
export function attribute(image: ImageRecord, name: string): unknown {
  const value = Object.hasOwn(image, name) ? image[name] : undefined
  return value === null || value === '' ? undefined : value
}

/** Broken unless the attribute has one of the values. */
export function unlessOneOf(image: ImageRecord, name: string, values: readonly unknown[]): string | undefined {
  const value = attribute(image, name)
  return values.includes(value) ? undefined : `${name} is ${shown(value)}`
}

/** Broken when the attribute is there, whatever it is. */
export function ifGiven(image: ImageRecord, name: string): string | undefined {
  const value = attribute(image, name)
  return value === undefined ? undefined : `${name} is ${shown(value)}`
}

/** A number that is not negative, also written as a text. Undefined for anything else. */
export function numberOf(image: ImageRecord, name: string): number | undefined {
  const value = attribute(image, name)
  const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value
  return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 ? number : undefined
}

const MOST_SHOWN = 80

/** A value for people: short, whatever it is. */
export function shown(value: unknown): string {
  if (value === undefined) return 'missing'
  const text = JSON.stringify(value) ?? typeof value
  return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text
}
