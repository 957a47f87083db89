/* SPDX-License-Identifier: Apache-2.0
 * The ledger: every counter, gauge and latency histogram of the process, and the last errors.
 * Counters are relaxed atomics, so any thread may add at any time; readers see each value exact but
 * not all of one instant.
 */
#ifndef VX_BASE_LEDGER_H
#define VX_BASE_LEDGER_H

#include "base/err.h"

#include <stdatomic.h>

/* group, name, help: stats.json shows them as "group": {"name": value} */
#define VX_COUNTERS(X)                                                                 \
	X(cache, hits, "opens of boxes that were resident")                            \
	X(cache, misses, "opens of boxes that had to be filled")                       \
	X(cache, joins, "opens that joined a fill under way")                          \
	X(cache, evictions, "boxes and chunks whose memory was given back for others") \
	X(cache, evicted_bytes, "bytes of those")                                      \
	X(cache, lease_refused, "boxes spared because a reader still maps them")       \
	X(cache, no_space, "opens that ended in ENOSPC")                               \
	X(chunks, fetched, "chunks had of a store or the disk cache")                  \
	X(chunks, merged, "wishes for a chunk that was already on its way")            \
	X(chunks, decoded, "chunks decoded, wholly or in part")                        \
	X(chunks, kept_hits, "wishes for a chunk answered from kept chunks")           \
	X(chunks, copied, "parts copied from other boxes")                             \
	X(chunks, copied_bytes, "bytes of those")                                      \
	X(chunks, missing, "chunks that the store does not have")                      \
	X(chunks, prefetched, "chunks fetched ahead of a reader")                      \
	X(chunks, failed, "chunks that could not be had or did not decode")            \
	X(shards, index_hits, "places of chunks in shards found in indexes at hand")   \
	X(shards, index_misses, "indexes of shards read from stores")                  \
	X(shards, requests, "requests for parts of shards at remote stores")           \
	X(shards, merged, "chunks and indexes that came along with another's request") \
	X(store, requests, "requests sent to stores, retries included")                \
	X(store, retries, "requests sent again")                                       \
	X(store, bytes, "bytes received from stores")                                  \
	X(store, errors, "requests given up")                                          \
	X(store, hedges, "second requests, sent beside one that lagged")               \
	X(store, hedges_won, "of those, the ones that were answered first")            \
	X(store, refused, "requests given up unsent, because their host is away")      \
	X(store, tokens, "searches for credentials")                                   \
	X(diskcache, hits, "wishes answered from the disk cache")                      \
	X(diskcache, hit_bytes, "bytes of those")                                      \
	X(diskcache, misses, "wishes that it had nothing for")                         \
	X(diskcache, confirmed, "older answers that the store confirmed")              \
	X(diskcache, stale, "older answers given because no store answered")           \
	X(diskcache, stored, "entries written")                                        \
	X(diskcache, stored_bytes, "bytes of those")                                   \
	X(diskcache, skipped, "entries not written: no room, or too many")             \
	X(diskcache, damaged, "entries refused: damaged, or not the right ones")       \
	X(diskcache, rounds, "rounds of counting and making room")                     \
	X(diskcache, evictions, "entries removed to make room")                        \
	X(diskcache, evicted_bytes, "bytes of those")                                  \
	X(diskcache, io_errors, "operations that its disk refused")                    \
	X(sched, tasks, "tasks taken by workers")                                      \
	X(sched, favourites, "tasks taken by the worker whose history lies nearest")   \
	X(fuse, lookups, "LOOKUP requests")                                            \
	X(fuse, opens, "OPEN requests")                                                \
	X(fuse, reads, "READ requests that reached the server")                        \
	X(fuse, read_bytes, "bytes of their answers")                                  \
	X(fuse, releases, "RELEASE requests")                                          \
	X(fuse, interrupts, "requests that a signal ended")                            \
	X(fuse, timeouts, "requests whose deadline passed (timeout=)")                 \
	X(fuse, errors, "requests answered with an I/O error")

/* name, help: each a histogram of nanoseconds in powers of two */
#define VX_HISTOGRAMS(X)                                                       \
	X(open_hit, "OPEN of a resident box, until answered")                  \
	X(open_miss, "OPEN of a box that had to be filled, until answered")    \
	X(read, "READ, until answered")                                        \
	X(fetch, "one chunk, from request to last byte, the disk cache's too") \
	X(decode, "one chunk, decompression and decoding")

#define VX_HIST_BUCKETS 44

struct vx_hist {
	_Atomic uint64_t bucket[VX_HIST_BUCKETS]; /* bucket i counts values in [2^i, 2^(i+1)) */
	_Atomic uint64_t sum;
};

struct vx_ledger {
#define X(group, name, help) _Alignas(64) _Atomic uint64_t group##_##name;
	VX_COUNTERS(X)
#undef X
#define X(name, help) struct vx_hist hist_##name;
	VX_HISTOGRAMS(X)
#undef X
};

extern struct vx_ledger vx_ledger;

#define VX_COUNT(name) VX_COUNT_ADD(name, 1)
#define VX_COUNT_ADD(name, n) ((void)atomic_fetch_add_explicit(&vx_ledger.name, (uint64_t)(n), memory_order_relaxed))
#define VX_TIMING(name, ns) vx_hist_add(&vx_ledger.hist_##name, (ns))

void vx_hist_add(struct vx_hist *h, uint64_t ns);
uint64_t vx_hist_count(const struct vx_hist *h);
/* Upper edge of the bucket that holds the q-th part of all values, in nanoseconds; 0 when empty. */
uint64_t vx_hist_quantile(const struct vx_hist *h, double q);

/* Remembers one failure for `.voxfs/errors` and writes it to the log; `what` names the file or URL.
 */
void vx_error_note(const char *what, const struct vx_err *e);

/* The last failures, one line each, oldest first, as a malloc'd string; NULL when memory is short.
 */
char *vx_error_text(void);

#endif
