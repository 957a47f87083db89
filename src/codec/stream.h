/* SPDX-License-Identifier: Apache-2.0
 * Private to the codecs: copies that pass the caches by, for destinations that do not fit them. A
 * store that goes through the cache reads the line first; half of the memory's speed is lost to
 * lines nobody wanted. Pure, any thread.
 */
#ifndef VX_CODEC_STREAM_H
#define VX_CODEC_STREAM_H

#include "base/box.h"

/* Whether `to`, the place of n voxels, lies in a box so large that it should be streamed to: of the
 * box all that is known are its strides. */
bool stream_worthwhile(const struct vx_place *to, uint64_t planes);

/* vx_place_copy, or stream_copy and its fence where that is worthwhile. */
void stream_or_copy(const struct vx_place *to, const struct vx_place *from, const uint64_t n[3], uint32_t channels,
		    uint32_t width);

/* As memcpy. */
void stream_row(uint8_t *to, const uint8_t *from, uint64_t bytes);

/* As vx_place_copy. Whole cache lines of the destination are streamed, the ends of rows stored. */
void stream_copy(const struct vx_place *to, const struct vx_place *from, const uint64_t n[3], uint32_t channels,
		 uint32_t width);

/* Must follow before others may look at what was streamed. */
void stream_fence(void);

#endif
