import { attribute } from '../rules/attributes.ts'
import type { ImageRecord } from '../rules/image-record.ts'
import type { Caller } from './seams.ts'

/** A project sees its own images, those shared with it, and public ones. Whether it may export one is another matter. */
export function canSee({ project }: Caller, image: ImageRecord): boolean {
  if (attribute(image, 'owner') === project || attribute(image, 'visibility') === 'public') return true
  const members = attribute(image, 'members')
  return Array.isArray(members) && members.includes(project)
}
