import type { DiskImage } from '../formats/format.ts'
import { openImage, type WriterOptions } from '../formats/registry.ts'
import type { Source } from '../io/source.ts'
import type { ConversionOptions } from './convert.ts'
import { beginConversion, type Conversion, type Planned, planConversion } from './prepared.ts'
import { type ImageInput, openOptionsOf, openSource, type SourceInput } from './source-input.ts'

/** What to plan a target from: as for a conversion, but from a source that may be read anywhere. */
export interface PlanOptions<T extends keyof WriterOptions = keyof WriterOptions>
  extends Omit<ConversionOptions<T>, 'source' | 'diskSize'> {
  source: SourceInput
}

/**
 * The first half of a conversion, for who wants to know what it would write. Whoever calls it closes it.
 * @throws DiskferryError what `convert` throws before it writes
 */
export async function planTarget<T extends keyof WriterOptions>(options: PlanOptions<T>): Promise<Planned> {
  const conversion = beginConversion(options)
  try {
    const source = await openNamed(conversion, options.source)
    return await planConversion(conversion, await openOwned(conversion, source, options), source)
  } catch (error) {
    await conversion.close()
    throw error
  }
}

/** The source that the caller named. One that is opened here is closed with the conversion. */
export async function openNamed(conversion: Conversion, input: SourceInput): Promise<Source> {
  const source = await openSource(input)
  return source === input ? source : conversion.owns(source)
}

/** The image in it, closed with the conversion. */
export async function openOwned(conversion: Conversion, source: Source, input: ImageInput): Promise<DiskImage> {
  return conversion.owns(await openImage(source, openOptionsOf(input)))
}
