import { grainFrame } from './vmdk/grain-frame.ts'
import { zvhdRecord } from './zvhd/record.ts'

/** What a format puts round each packed unit. Applied by whichever thread packed it. */
export interface Frame {
  /** Bytes that it adds to a payload, at most, padding included. */
  readonly overhead: number
  /** Writes payload and frame at `at`; gives the bytes used. */
  write(into: Buffer, at: number, payload: Uint8Array, unit: number, isFirst: boolean): number
}

/** The payload and nothing else. */
const none: Frame = {
  overhead: 0,
  write(into, at, payload) {
    into.set(payload, at)
    return payload.length
  },
}

export const frames = {
  none,
  'grain-marker': grainFrame,
  'zvhd-record': zvhdRecord.independent,
  'zvhd2-record': zvhdRecord.whole,
} as const
export type FrameName = keyof typeof frames
