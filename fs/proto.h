/* SPDX-License-Identifier: Apache-2.0
 * What keeper and server say to each other: messages of fixed size over two socket pairs. On one the server asks and
 * waits for the answer; on the other both sides tell. The keeper checks every field and believes none.
 */
#ifndef VX_FS_PROTO_H
#define VX_FS_PROTO_H

#include <stdint.h>

/* ---- questions of the server, each answered at once ---- */
enum vx_question { VX_ASK_REGISTER = 1, VX_ASK_UNREGISTER, VX_ASK_COUNT /* how many are registered */ };
struct vx_ask {
	uint32_t question;
	uint32_t zero;
	uint64_t object; /* number of a file of the arena */
};
struct vx_answer {
	int64_t value; /* an id > 0, 0, or negative errno */
};

/* ---- news ---- */
enum vx_news {
	/* from the server */
	VX_NEWS_PREPARED = 1, /* the metadata is known: the mount may be made */
	VX_NEWS_SERVING,      /* the kernel has been answered */
	VX_NEWS_UNMOUNTED,    /* the kernel has ended the mount; the server ends */
	VX_NEWS_ALIVE,        /* the answer to the question */
	/* from the keeper */
	VX_NEWS_START = 101, /* with the mount's descriptor */
	VX_NEWS_STOP,        /* answer whoever waits, and end */
	VX_NEWS_DRAIN,       /* another server takes over: finish what is under way, and end */
	VX_NEWS_ALIVE_ASKED, /* are you? */
	VX_NEWS_REFUSED,     /* the program that was to take over cannot */
};
struct vx_tell {
	uint32_t news;
	/* VX_NEWS_START: */
	uint32_t starts;     /* servers that have been started, this one included */
	int32_t death;       /* how the one before died: its signal, -1 by itself, 0: it did not */
	uint32_t keeper_pid; /* as the keeper's namespace has it */
};

/* The environment variable by which a server knows that it is one, its descriptors and who it is to be:
 * "questions,news,table,arena,list,out,uid,gid"; arena, list -1: there is none; uid -1: it chooses. */
#define VX_SERVER_ENV "VOXFS_SERVER"
/* Where relative names in its arguments begin. It is not started there: the folder may be gone by then, or below the
 * mount, which nobody serves yet. */
#define VX_DIRECTORY_ENV "VOXFS_DIRECTORY"
enum vx_out {
	VX_OUT_STDERR, /* somebody reads stderr, to the end */
	VX_OUT_DETACH, /* until the mount works */
	VX_OUT_SYSLOG, /* nobody */
};

#endif
