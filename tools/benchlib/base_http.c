/* SPDX-License-Identifier: Apache-2.0
 * Baseline for remote volumes: one thread, libcurl multi, `connections` handles that are used again and again over
 * kept connections, large receive buffers, and a write callback that drops what comes.
 */
#include "benchlib/bench.h"

#include <curl/curl.h>
#include <stdio.h>

struct http_loop {
	const struct bench_grid *grid;
	struct bench_cells cells;
	uint64_t next, done, bytes;
	CURLM *multi;
};

static size_t drop(char *data, size_t one, size_t len, void *arg)
{
	*(uint64_t *)arg += len;
	return len;
}

static CURL *new_handle(struct http_loop *l)
{
	CURL *h = curl_easy_init();

	if (!h)
		bench_die("curl");
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_BUFFERSIZE, 512L << 10);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, drop);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, &l->bytes);
	curl_easy_setopt(h, CURLOPT_FAILONERROR, 1L);
	return h;
}

/* False when nothing is left to ask for. */
static bool ask_next(struct http_loop *l, CURL *h)
{
	char url[4096];

	if (l->next == l->cells.count)
		return false;
	bench_cell_name(l->grid, &l->cells.cell[l->next++], url, sizeof url);
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_multi_add_handle(l->multi, h);
	return true;
}

static void collect(struct http_loop *l)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(l->multi, &left))) {
		CURL *h = m->easy_handle;

		if (m->msg != CURLMSG_DONE)
			continue;
		if (m->data.result != CURLE_OK) {
			fprintf(stderr, "voxbench: %s\n", curl_easy_strerror(m->data.result));
			exit(1);
		}
		curl_multi_remove_handle(l->multi, h);
		l->done++;
		if (!ask_next(l, h))
			curl_easy_cleanup(h);
	}
}

int bench_http(const struct bench_args *a)
{
	unsigned connections = (unsigned)bench_number(a, "connections", 64);
	struct http_loop l = {0};
	struct bench_grid g;
	int running;
	double t0, cpu;

	bench_grid_read(a, &g);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	l.grid = &g;
	l.multi = curl_multi_init();
	curl_multi_setopt(l.multi, CURLMOPT_MAXCONNECTS, (long)connections);
	cpu = bench_cpu();
	t0 = bench_now();
	bench_cells_of(&g, &g.box, &l.cells);
	for (unsigned i = 0; i < connections && ask_next(&l, new_handle(&l)); i++)
		continue;
	for (;;) {
		curl_multi_perform(l.multi, &running);
		collect(&l);
		if (l.done == l.cells.count)
			break;
		curl_multi_poll(l.multi, NULL, 0, 1000, NULL);
	}
	printf("{\"seconds\": %.9f, \"cpu\": %.9f, \"chunks\": %llu, \"bytes\": %llu}\n", bench_now() - t0,
	       bench_cpu() - cpu, (unsigned long long)l.cells.count, (unsigned long long)l.bytes);
	return 0;
}
