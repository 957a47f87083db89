/* SPDX-License-Identifier: Apache-2.0
 * Files of credentials: reading them whole, the INI of AWS and of boto, the JSON of CloudVolume and Google. No sentence
 * quotes what is in them.
 */
#include "fetch/secret.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

void vx_secret_wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static int read_all(int fd, const char *path, char **ret, struct vx_err *e)
{
	VX_AUTO_SECRET char *text = calloc(1, VX_MAX_SECRET_BYTES + 1);
	size_t len = 0;
	struct stat st;
	ssize_t n;

	if (!text)
		return vx_no_memory(e);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return vx_fail(e, -EACCES, "%s is not a regular file", path);
	while ((n = read(fd, text + len, VX_MAX_SECRET_BYTES + 1 - len)) > 0)
		if ((len += (size_t)n) > VX_MAX_SECRET_BYTES)
			return vx_fail(e, -EBADMSG, "%s is too long for credentials", path);
	if (n < 0)
		return vx_fail(e, -EACCES, "%s: %s", path, strerrordesc_np(errno));
	if (strlen(text) != len)
		return vx_fail(e, -EBADMSG, "%s is no text", path);
	*ret = vx_steal(text);
	return 0;
}

/* What lies where we may not even look was not there when our user was chosen. */
static bool is_out_of_sight(const char *path)
{
	VX_AUTO_FREE char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!slash || slash == folder)
		return false;
	*slash = 0;
	return access(folder, X_OK) < 0 && errno == EACCES;
}

int vx_secret_read(const char *path, char **ret, struct vx_err *e)
{
	VX_AUTO_CLOSE int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	int code = errno;

	*ret = NULL;
	if (!path)
		return -ENOENT;
	if (fd < 0 && (code == ENOENT || code == ENOTDIR || (code == EACCES && is_out_of_sight(path))))
		return vx_fail(e, -ENOENT, "there is no file %s", path);
	if (fd < 0)
		return vx_fail(e, -EACCES, "%s: %s", path, strerrordesc_np(code));
	return read_all(fd, path, ret, e);
}

const char *vx_env(const char *name)
{
	const char *v = getenv(name);

	return v && v[0] ? v : NULL;
}

char *vx_secret_path(const char *variable, const char *home_dir, const char *below)
{
	const char *dir = variable ? vx_env(variable) : NULL, *home = vx_env("HOME");
	char *path = NULL;
	int r;

	if (dir)
		r = asprintf(&path, "%s%s%s", dir, below[0] ? "/" : "", below);
	else if (home)
		r = asprintf(&path, "%s/%s%s%s", home, home_dir, below[0] ? "/" : "", below);
	else
		return NULL;
	return r < 0 ? NULL : path;
}

bool vx_secret_unwanted(const char *variable)
{
	const char *v = vx_env(variable);

	return v && (strcasecmp(v, "yes") == 0 || strcasecmp(v, "true") == 0 || strcmp(v, "1") == 0);
}

/* --- INI --- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static size_t trimmed(const char **s, size_t len)
{
	while (len > 0 && is_blank(**s)) {
		(*s)++;
		len--;
	}
	while (len > 0 && is_blank((*s)[len - 1]))
		len--;
	return len;
}

static bool equals(const char *s, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(s, word, len) == 0;
}

static bool is_section(const char *line, size_t len, const char *section)
{
	const char *end = memchr(line, ']', len), *name = line + 1;
	size_t n = end ? trimmed(&name, (size_t)(end - name)) : 0;

	return end && equals(name, n, section);
}

/* A comment may follow a value, after a blank. */
static size_t without_comment(const char *value, size_t len)
{
	for (size_t i = 1; i < len; i++)
		if ((value[i] == '#' || value[i] == ';') && is_blank(value[i - 1]))
			return i;
	return len;
}

static bool scan(const char *text, const char *section, const char *key, char *value, size_t size)
{
	bool inside = false, found = false;

	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n"), n;
		const char *next = line + len + (line[len] == '\n'), *name = line, *eq;

		if (line[0] == '[') {
			inside = is_section(line, len, section);
			found |= inside && !key;
		} else if (inside && key && !is_blank(line[0]) && line[0] != '#' && line[0] != ';' &&
			   (eq = memchr(line, '=', len))) {
			n = trimmed(&name, (size_t)(eq - line));
			if (equals(name, n, key)) {
				const char *v = eq + 1;

				n = without_comment(v, len - (size_t)(v - line));
				n = trimmed(&v, n);
				found = n > 0 && n < size;
				if (found) {
					memcpy(value, v, n);
					value[n] = 0;
				}
			}
		}
		line = next;
	}
	return found;
}

bool vx_ini_get(const char *text, const char *section, const char *key, char *value, size_t size)
{
	return scan(text, section, key, value, size);
}

bool vx_ini_has(const char *text, const char *section)
{
	return scan(text, section, NULL, NULL, 0);
}

/* --- JSON --- */

int vx_secret_parse(const char *text, const char *what, json_t **ret, struct vx_err *e)
{
	json_t *j = json_loads(text, 0, NULL);

	if (!json_is_object(j)) {
		json_decref(j);
		return vx_fail(e, -EBADMSG, "%s is no JSON object", what);
	}
	*ret = j;
	return 0;
}

int vx_secret_json(const char *name, json_t **ret, struct vx_err *e)
{
	static const struct {
		const char *variable, *home;
	} places[] = {{"CLOUD_VOLUME_DIR", ".cloudvolume"}, {"CLOUD_FILES_DIR", ".cloudfiles"}};
	char below[300];

	snprintf(below, sizeof below, "secrets/%.250s", name);
	for (size_t i = 0; i < VX_ARRAY_LEN(places); i++) {
		VX_AUTO_FREE char *path = vx_secret_path(places[i].variable, places[i].home, below);
		VX_AUTO_SECRET char *text = NULL;
		int r = vx_secret_read(path, &text, e);

		if (r == 0)
			return vx_secret_parse(text, path, ret, e);
		if (r != -ENOENT)
			return r;
	}
	return -ENOENT;
}

bool vx_secret_is_clean(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

char *vx_secret_string(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s && s[0] && vx_secret_is_clean(s) ? strdup(s) : NULL;
}

int64_t vx_secret_time(const char *text)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	time_t t;

	if (!end)
		return 0;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	if (strcmp(end, "Z") != 0 && strcmp(end, "+00:00") != 0)
		return 0;
	t = timegm(&tm);
	return t > 0 ? t : 0;
}
