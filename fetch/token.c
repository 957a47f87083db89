/* SPDX-License-Identifier: Apache-2.0
 * Tokens, holders, and when they are looked for: at first use, when a token is near its end (requests go on with
 * the old one meanwhile), and after a store has refused one.
 */
#include "fetch/token.h"
#include "fetch/secret.h"

#include "base/ledger.h"
#include "fetch/ask.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#define ASK_TRIES 4
#define ASK_PAUSE_MS 50
#define EARLY_SECONDS 300   /* before its end a token is renewed */
#define AGAIN_SECONDS 5     /* after a search that failed, and during renewals */
#define MISTRUST_SECONDS 30 /* between searches because stores refuse what is found */

struct vx_holder {
	struct vx_holder *next;
	struct vx_tokens *all;
	vx_token_source *source; /* constant, as the next */
	char *subject;

	/* under the lock */
	struct vx_token *token; /* owned */
	struct vx_err err;      /* why there is none */
	bool wanted, mistrusted;
	int64_t tried; /* wall clock: the end of the last search, 0: none yet */
	int64_t mistrusted_at;
};

struct vx_tokens {
	void (*changed)(void *ctx);
	void *ctx;
	struct vx_asker *asker;
	struct vx_mutex mtx;
	pthread_cond_t cond;
	struct vx_holder *holders; /* under mtx, as all below */
	bool started, quit;
	pthread_t thread;
};

/* --- tokens --- */

struct vx_token *vx_token_new(enum vx_token_kind kind)
{
	struct vx_token *t = calloc(1, sizeof *t);

	if (t) {
		t->refs = 1;
		t->kind = kind;
	}
	return t;
}

int vx_token_first(vx_token_source *const *chain, size_t n, struct vx_tokens *ts, const char *subject,
		   struct vx_token **ret, struct vx_err *e)
{
	for (size_t i = 0; i < n; i++) {
		int r = chain[i](ts, subject, ret, e);

		if (r != -ENOENT)
			return r;
	}
	*ret = vx_token_new(VX_TOKEN_NONE);
	return *ret ? 0 : vx_no_memory(e);
}

struct vx_token *vx_token_ref(struct vx_token *t)
{
	t->refs++;
	return t;
}

void vx_token_put(struct vx_token *t)
{
	if (!t || --t->refs > 0)
		return;
	vx_secret_wipe(&t->name);
	vx_secret_wipe(&t->secret);
	vx_secret_wipe(&t->session);
	free(t->region);
	for (char **h = t->headers; h && *h; h++)
		vx_secret_wipe(h);
	free(t->headers);
	free(t);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool vx_token_equal(const struct vx_token *a, const struct vx_token *b)
{
	return a->kind == b->kind && same(a->name, b->name) && same(a->secret, b->secret) &&
	       same(a->session, b->session);
}

/* --- the thread --- */

static struct vx_holder *next_wanted_locked(struct vx_tokens *ts)
{
	for (struct vx_holder *id = ts->holders; id; id = id->next)
		if (id->wanted)
			return id;
	return NULL;
}

/* What a search has brought. A failure leaves a token that still holds. */
static void settle(struct vx_holder *id, int code, struct vx_token *token, const struct vx_err *e)
{
	struct vx_token *old = NULL;

	{
		VX_LOCK_SCOPE(&id->all->mtx);
		id->wanted = false;
		id->mistrusted = false;
		id->tried = time(NULL);
		if (code == 0) {
			old = id->token;
			id->token = token;
			id->err.code = 0;
		} else {
			id->err = *e;
		}
	}
	vx_token_put(old);
	id->all->changed(id->all->ctx);
}

static void *run(void *arg)
{
	struct vx_tokens *ts = arg;

	pthread_setname_np(pthread_self(), "vx-token");
	for (;;) {
		struct vx_token *token = NULL;
		struct vx_holder *id;
		struct vx_err e = {0};
		int code;

		{
			VX_LOCK_SCOPE(&ts->mtx);
			while (!ts->quit && !next_wanted_locked(ts))
				vx_cond_wait(&ts->cond, &ts->mtx);
			if (ts->quit)
				return NULL;
			id = next_wanted_locked(ts);
		}
		code = id->source(ts, id->subject, &token, &e);
		VX_COUNT(store_tokens);
		settle(id, code, token, &e);
	}
}

static int start_locked(struct vx_tokens *ts)
{
	sigset_t all, before;
	int r;

	if (ts->started)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&ts->thread, NULL, run, ts);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	ts->started = r == 0;
	return -r;
}

int vx_tokens_new(struct vx_tokens **ret, void (*changed)(void *ctx), void *ctx)
{
	struct vx_tokens *ts = calloc(1, sizeof *ts);

	if (!ts || vx_asker_new(&ts->asker) < 0) {
		free(ts);
		return -ENOMEM;
	}
	ts->changed = changed;
	ts->ctx = ctx;
	vx_mutex_init(&ts->mtx, VX_RANK_TOKENS);
	vx_cond_init(&ts->cond);
	*ret = ts;
	return 0;
}

void vx_tokens_stop(struct vx_tokens *ts)
{
	bool join;

	{
		VX_LOCK_SCOPE(&ts->mtx);
		ts->quit = true;
		join = ts->started;
		ts->started = false;
		pthread_cond_signal(&ts->cond);
	}
	if (!join)
		return;
	vx_asker_quit(ts->asker);
	pthread_join(ts->thread, NULL);
}

void vx_tokens_free(struct vx_tokens **ts)
{
	struct vx_tokens *old = vx_steal(*ts);

	if (!old)
		return;
	vx_tokens_stop(old);
	while (old->holders) {
		struct vx_holder *id = old->holders;

		old->holders = id->next;
		vx_token_put(id->token);
		free(id->subject);
		free(id);
	}
	vx_asker_free(&old->asker);
	pthread_cond_destroy(&old->cond);
	vx_mutex_done(&old->mtx);
	free(old);
}

int vx_ask(struct vx_tokens *ts, const struct vx_ask *q, char **ret_text, int *ret_status, struct vx_err *e)
{
	int r = vx_asker_ask(ts->asker, q, ret_text, ret_status, e);

	for (int tries = 1; tries < ASK_TRIES && r == 0 && (*ret_status == 429 || *ret_status >= 500); tries++) {
		vx_secret_wipe(ret_text);
		vx_asker_pause(ts->asker, ASK_PAUSE_MS << tries);
		r = vx_asker_ask(ts->asker, q, ret_text, ret_status, e);
	}
	return r;
}

/* --- holders --- */

struct vx_holder *vx_holder_get(struct vx_tokens *ts, vx_token_source *source, const char *subject)
{
	VX_LOCK_SCOPE(&ts->mtx);
	struct vx_holder *id;

	for (id = ts->holders; id; id = id->next)
		if (id->source == source && strcmp(id->subject, subject) == 0)
			return id;
	id = calloc(1, sizeof *id);
	if (!id || !(id->subject = strdup(subject))) {
		free(id);
		return NULL;
	}
	id->all = ts;
	id->source = source;
	id->next = ts->holders;
	ts->holders = id;
	return id;
}

static int want_locked(struct vx_holder *id)
{
	int r = id->all->quit ? -ECANCELED : start_locked(id->all);

	if (r < 0)
		return r;
	id->wanted = true;
	pthread_cond_signal(&id->all->cond);
	return 0;
}

int vx_holder_use(struct vx_holder *id, int64_t now, struct vx_token **ret, struct vx_err *e)
{
	VX_LOCK_SCOPE(&id->all->mtx);
	const struct vx_token *t = id->token;
	bool holds = t && !id->mistrusted && (!t->expires || now < t->expires);
	/* Wall clocks jump: what was tried in the future was not tried. */
	bool rested = !id->tried || now < id->tried || now - id->tried >= AGAIN_SECONDS;
	int r;

	if (holds && t->expires && t->expires - now < EARLY_SECONDS && rested && !id->wanted)
		want_locked(id); /* if that fails, the next request tries it again */
	if (holds) {
		*ret = vx_token_ref(id->token);
		return 0;
	}
	if (id->wanted)
		return -EAGAIN;
	if (id->err.code && !rested) {
		*e = id->err;
		return e->code;
	}
	r = want_locked(id);
	return r < 0 ? vx_fail(e, r, "credentials cannot be looked for: %s", strerrordesc_np(-r)) : -EAGAIN;
}

bool vx_holder_reject(struct vx_holder *id, const struct vx_token *t, int64_t now)
{
	VX_LOCK_SCOPE(&id->all->mtx);

	if (id->wanted)
		return true;
	if (!id->token || !vx_token_equal(id->token, t))
		return id->token != NULL;
	if (id->mistrusted_at && now >= id->mistrusted_at && now - id->mistrusted_at < MISTRUST_SECONDS)
		return false;
	id->mistrusted_at = now;
	id->mistrusted = true;
	if (want_locked(id) < 0)
		id->mistrusted = false;
	return id->mistrusted;
}
