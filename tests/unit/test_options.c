/* SPDX-License-Identifier: Apache-2.0
 * The command line, as people, mount(8) and fstab write it.
 */
#include "../lib/vxtest.h"
#include "fs/options.h"

#include <string.h>

#define GIB ((uint64_t)1 << 30)

static struct vx_options o;
static struct vx_err e;

/* Runs the parser over words that spaces separate. */
static int parse(const char *line)
{
	VX_AUTO_FREE char *copy = strdup(line);
	char *argv[32], *rest = copy, *word;
	int argc = 0;

	while ((word = strsep(&rest, " ")))
		argv[argc++] = word;
	argv[argc] = NULL;
	vx_options_free(&o);
	e = (struct vx_err){0};
	return vx_options_parse(&o, argc, argv, &e);
}

static int with(const char *list)
{
	char line[400];

	snprintf(line, sizeof line, "voxfs src /mnt -o %s", list);
	return parse(line);
}

static void end(void)
{
	vx_options_free(&o);
	o = (struct vx_options){0};
}

START_TEST(defaults)
{
	ck_assert_int_eq(parse("voxfs precomputed://file:///data/em /mnt/vol"), 0);
	ck_assert_str_eq(o.source, "precomputed://file:///data/em");
	ck_assert_str_eq(o.mountpoint, "/mnt/vol");
	ck_assert_ptr_null(o.name);
	ck_assert_uint_eq(o.cache, vx_memory_limit() / 4);
	ck_assert_uint_eq(o.eager, o.cache / 4);
	ck_assert_uint_eq(o.warm, UINT64_MAX);
	ck_assert_uint_eq(o.threads, (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
	ck_assert_uint_eq(o.connections, 64);
	ck_assert(o.tries == 5 && o.connect_timeout == 10 && o.stall == 15 && o.wait == 10);
	ck_assert(o.timeout == 300 && o.uid == getuid() && o.gid == getgid() && o.umask == 0);
	ck_assert(!o.runas && !o.sandbox_probe);
	ck_assert(!o.foreground && !o.fake && !o.fill_missing && !o.allow_other && !o.debug && !o.sloppy);
	ck_assert(o.zerocopy == VX_ZEROCOPY_AUTO && o.policy == VX_POLICY_AFFINITY);
	ck_assert(!o.diskcache && !o.diskcache_size && o.diskcache_percent == 10);
	ck_assert(o.diskcache_check == VX_CHECK_NEVER);
}
END_TEST

START_TEST(every_option)
{
	ck_assert_int_eq(with("name=em,cache=3G,eager=64M,threads=3,connections=7,missing=fill,zerocopy=passthrough,"
			      "warm=1.5K,policy=morton,tries=9,connect_timeout=1.5,stall=0.25,wait=0,allow_other,debug,"
			      "timeout=0.5,uid=root,gid=7,umask=027,runas=nobody:nogroup,sandbox_probe"),
			 0);
	ck_assert_str_eq(o.name, "em");
	ck_assert_uint_eq(o.cache, 3 * GIB);
	ck_assert_uint_eq(o.eager, 64 << 20);
	ck_assert(o.threads == 3 && o.connections == 7 && o.tries == 9);
	ck_assert(o.fill_missing && o.zerocopy == VX_ZEROCOPY_PASSTHROUGH && o.policy == VX_POLICY_MORTON);
	ck_assert_uint_eq(o.warm, 1536);
	ck_assert(o.connect_timeout == 1.5 && o.timeout == 0.5 && o.stall == 0.25 && o.wait == 0);
	ck_assert(o.allow_other && o.debug && o.sandbox_probe);
	ck_assert(o.uid == 0 && o.gid == 7 && o.umask == 027);
	ck_assert_str_eq(o.runas, "nobody:nogroup");
	ck_assert_int_eq(with("uid=12345,gid=root,umask=0,connect_timeout=0"), 0);
	ck_assert(o.uid == 12345 && o.gid == 0 && o.umask == 0 && o.connect_timeout == 0);
	ck_assert_int_eq(with("missing=fill,missing=error,zerocopy=off,policy=fifo,name=a,name=b,cache=1M"), 0);
	ck_assert(!o.fill_missing && o.zerocopy == VX_ZEROCOPY_OFF && o.policy == VX_POLICY_FIFO);
	ck_assert_str_eq(o.name, "b");
	ck_assert_uint_eq(o.eager, 256 << 10); /* a quarter of the cache that was asked for */
	ck_assert_int_eq(with("zerocopy=auto,policy=affinity,eager=0"), 0);
	ck_assert_uint_eq(o.eager, 0);
}
END_TEST

START_TEST(disk_cache)
{
	ck_assert_int_eq(with("diskcache=/var/cache/v,diskcache_size=2G,diskcache_check=mount"), 0);
	ck_assert_str_eq(o.diskcache, "/var/cache/v");
	ck_assert(o.diskcache_size == 2 * GIB && o.diskcache_percent == 0 && o.diskcache_check == VX_CHECK_MOUNT);
	ck_assert_int_eq(with("diskcache=a,diskcache=b,diskcache_size=2G,diskcache_size=7.5%,diskcache_check=1.5"), 0);
	ck_assert_str_eq(o.diskcache, "b");
	ck_assert(o.diskcache_size == 0 && o.diskcache_percent == 7.5 && o.diskcache_check == 1500000000);
	ck_assert_int_eq(with("diskcache=b,diskcache_size=5%,diskcache_size=1M,diskcache_check=0"), 0);
	ck_assert(o.diskcache_size == 1 << 20 && o.diskcache_percent == 0 && o.diskcache_check == 0);
	ck_assert_int_eq(with("diskcache=b,diskcache_check=0,diskcache_check=never"), 0);
	ck_assert(o.diskcache_percent == 10 && o.diskcache_check == VX_CHECK_NEVER);
	ck_assert_int_eq(parse("voxfs -s src /mnt -o diskcache_size=1G"), 0);
}
END_TEST

START_TEST(lists)
{
	ck_assert_int_eq(with("name=a\\,b"), 0);
	ck_assert_str_eq(o.name, "a,b");
	ck_assert_int_eq(with("name=\"a,b\",debug"), 0);
	ck_assert_str_eq(o.name, "a,b");
	ck_assert(o.debug);
	ck_assert_int_eq(with("name=a\\\\b,debug"), 0);
	ck_assert_str_eq(o.name, "a\\b");
	ck_assert_int_eq(with("name=\\\"q\\\""), 0);
	ck_assert_str_eq(o.name, "\"q\"");
	ck_assert_int_eq(with("name=a=b"), 0);
	ck_assert_str_eq(o.name, "a=b");
	ck_assert_int_eq(with("name=a\\"), 0); /* a last backslash stands for itself */
	ck_assert_str_eq(o.name, "a\\");
	ck_assert_int_eq(with(",,debug,,tries=2,"), 0);
	ck_assert(o.debug && o.tries == 2);
	ck_assert_int_eq(parse("voxfs -o debug a -otries=3,stall=2 b -o connections=1"), 0);
	ck_assert(o.debug && o.tries == 3 && o.stall == 2 && o.connections == 1);
	ck_assert_str_eq(o.source, "a");
	ck_assert_str_eq(o.mountpoint, "b");
}
END_TEST

/* Each with what the sentence must name. */
static const char *const bad[][2] = {
    {"nmae=em", "nmae"},
    {"cach=1G", "cach"},
    {"Debug", "Debug"},
    {"name", "name"},
    {"name=", "name"},
    {"cache", "cache"},
    {"cache=", "cache"},
    {"cache=1000", "cache=1000"},
    {"cache=12Q", "cache=12Q"},
    {"cache=1Gi", "cache=1Gi"},
    {"cache=G", "cache=G"},
    {"cache=-1G", "cache=-1G"},
    {"cache=101%", "cache=101%"},
    {"cache=99999999T", "cache"},
    {"eager=nan", "eager=nan"},
    {"eager=1e999", "eager"},
    {"warm=much", "warm=much"},
    {"threads=0", "threads=0"},
    {"threads=1025", "threads=1025"},
    {"threads=two", "threads=two"},
    {"threads=2x", "threads=2x"},
    {"threads=-1", "threads=-1"},
    {"threads=99999999999999999999999", "threads"},
    {"connections=0", "connections=0"},
    {"connections=4097", "connections=4097"},
    {"tries=0", "tries=0"},
    {"tries=101", "tries=101"},
    {"timeout=-1", "timeout=-1"},
    {"timeout=1s", "timeout=1s"},
    {"timeout=0", "timeout=0"},
    {"connect_timeout=-1", "connect_timeout=-1"},
    {"stall=86401", "stall=86401"},
    {"uid=nosuchuser", "uid=nosuchuser"},
    {"uid=4294967295", "uid=4294967295"},
    {"uid=-1", "uid=-1"},
    {"uid=+5", "uid=+5"},
    {"gid=+5", "gid=+5"},
    {"gid=nosuchgroup", "group"},
    {"umask=8", "umask=8"},
    {"umask=1777", "umask=1777: must be at most 777"},
    {"umask=rwx", "umask=rwx"},
    {"runas=", "runas"},
    {"sandbox_probe=1", "sandbox_probe"},
    {"wait=inf", "wait=inf"},
    {"wait", "wait"},
    {"missing=zero", "missing=zero"},
    {"missing", "missing"},
    {"zerocopy=on", "zerocopy=on"},
    {"policy=", "policy"},
    {"policy=lru", "policy=lru"},
    {"debug=1", "debug"},
    {"allow_other=yes", "allow_other"},
    {"=1G", "\"\""},
    {"diskcache", "diskcache"},
    {"diskcache=", "diskcache"},
    {"diskcache_size=1G", "diskcache="},
    {"diskcache_size=10%", "diskcache="},
    {"diskcache_check=never", "diskcache="},
    {"diskcache=a,diskcache_size=1000", "diskcache_size=1000"},
    {"diskcache=a,diskcache_size=%", "diskcache_size=%"},
    {"diskcache=a,diskcache_size=0%", "diskcache_size=0%"},
    {"diskcache=a,diskcache_size=101%", "diskcache_size=101%"},
    {"diskcache=a,diskcache_size=1x%", "diskcache_size=1x%"},
    {"diskcache=a,diskcache_size=1e999%", "diskcache_size"},
    {"diskcache=a,diskcache_size=lots", "diskcache_size=lots"},
    {"diskcache=a,diskcache_check=", "diskcache_check"},
    {"diskcache=a,diskcache_check=always", "diskcache_check=always"},
    {"diskcache=a,diskcache_check=-1", "diskcache_check=-1"},
    {"diskcache=a,diskcache_check=1s", "diskcache_check=1s"},
    {"diskcache=a,diskcache_check=1e999", "diskcache_check"},
};

START_TEST(mistakes)
{
	char list[100];

	ck_assert_int_eq(with(bad[_i][0]), -EINVAL);
	ck_assert_int_eq(e.code, -EINVAL);
	ck_assert_msg(strstr(e.why, bad[_i][1]) != NULL, "%s: %s", bad[_i][0], e.why);
	snprintf(list, sizeof list, "debug,%s,tries=2", bad[_i][0]);
	ck_assert_int_eq(with(list), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.why, bad[_i][1]));
}
END_TEST

START_TEST(wrong_lines)
{
	ck_assert_int_eq(parse("voxfs"), -EINVAL);
	ck_assert_int_eq(parse("voxfs src"), -EINVAL);
	ck_assert_int_eq(parse("voxfs src /mnt third"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.why, "third"));
	ck_assert_int_eq(parse("voxfs src /mnt -o"), -EINVAL);
	ck_assert_int_eq(parse("voxfs src /mnt -x"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.why, "-x"));
	ck_assert_int_eq(parse("voxfs src /mnt --frob"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.why, "--frob"));
	ck_assert_int_eq(parse("voxfs -- -src -mnt"), 0);
	ck_assert_str_eq(o.source, "-src");
	ck_assert_str_eq(o.mountpoint, "-mnt");
	ck_assert_int_eq(parse("voxfs --upgrade /mnt"), 0);
	ck_assert(o.upgrade);
	ck_assert_int_eq(parse("voxfs --upgrade"), -EINVAL);
	ck_assert_int_eq(parse("voxfs --upgrade src /mnt"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.why, "--upgrade needs a mount point, and nothing else"));
	ck_assert_int_eq(parse("voxfs --help"), 0);
	ck_assert(o.help);
	ck_assert_int_eq(parse("voxfs -V"), 0);
	ck_assert(o.version);
}
END_TEST

/* What mount(8), fstab and systemd add. */
START_TEST(as_mount_calls_us)
{
	ck_assert_int_eq(parse("/sbin/mount.voxfs /data/em /mnt -o rw,nodev,nosuid,cache=1G"), 0);
	ck_assert_uint_eq(o.cache, GIB);
	ck_assert_int_eq(parse("/sbin/mount.voxfs /data/em /mnt -s -n -v -t voxfs -N /proc/1/ns/mnt -o ro,frobnicate"),
			 0);
	ck_assert(o.sloppy && !o.foreground);
	ck_assert_int_eq(parse("/sbin/mount.voxfs /data/em /mnt -f -o ro"), 0);
	ck_assert(o.fake && !o.foreground);
	ck_assert_int_eq(parse("voxfs /data/em /mnt -f"), 0);
	ck_assert(!o.fake && o.foreground);
	ck_assert_int_eq(with("ro,rw,dev,nodev,suid,nosuid,exec,noexec,defaults,auto,noauto,user,users,nouser,owner,"
			      "group,_netdev,nofail,async,relatime,noatime,nodiratime,default_permissions,"
			      "x-systemd.automount,x-systemd.requires=net.target,x-gvfs-show,comment=mine"),
			 0);
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
	    {"0", 0},
	    {"4096", 4096},
	    {"1k", 1024},
	    {"1K", 1024},
	    {"512M", 512 << 20},
	    {"1.5G", 3 << 29},
	    {"2T", (uint64_t)2 << 40},
	    {"25%", 250},
	    {"0%", 0},
	    {"100%", 1000},
	    {"0.5%", 5},
	    {"0.5K", 512},
	    {"1e3", 1000},
	    {"4g", (uint64_t)4 << 30},
	};
	static const char *const wrong[] = {"",    " 1",  "1 ",     "-1",  "+1",  "K",     "%",      "1KB",     "1K%",
					    "1%%", "1,5", "100.5%", "inf", "nan", "1e400", "4.7e18", "5000000T"};
	uint64_t v;

	for (unsigned k = 0; k < VX_ARRAY_LEN(good); k++) {
		ck_assert_msg(vx_parse_bytes(good[k].text, 1000, &v), "%s", good[k].text);
		ck_assert_msg(v == good[k].bytes, "%s is %llu", good[k].text, (unsigned long long)v);
	}
	for (unsigned k = 0; k < VX_ARRAY_LEN(wrong); k++) {
		v = 42;
		ck_assert_msg(!vx_parse_bytes(wrong[k], 1000, &v), "%s", wrong[k]);
		ck_assert_uint_eq(v, 42);
	}
	ck_assert_int_eq(with("cache=50%,eager=10%"), 0);
	ck_assert(o.cache == (uint64_t)(50.0 * ((double)vx_memory_limit() / 100)));
	ck_assert_uint_lt(o.eager, o.cache);
	ck_assert_uint_gt(vx_memory_limit(), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("options");
	TCase *t = tcase_create("options");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, NULL, end);
	tcase_add_test(t, defaults);
	tcase_add_test(t, every_option);
	tcase_add_test(t, disk_cache);
	tcase_add_test(t, lists);
	tcase_add_loop_test(t, mistakes, 0, VX_ARRAY_LEN(bad));
	tcase_add_test(t, wrong_lines);
	tcase_add_test(t, as_mount_calls_us);
	tcase_add_test(t, sizes);
	return vxt_run(s);
}
