/* posix_spawn as programs call it that were linked before glibc 2.15: it runs a text without #! with the
 * shell. A library of its own, since no object refers to both. */
#include <spawn.h>

#ifdef __x86_64__
__asm__(".symver posix_spawn, posix_spawn@GLIBC_2.2.5");
__asm__(".symver posix_spawnp, posix_spawnp@GLIBC_2.2.5");

int old_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	      const posix_spawnattr_t *attributes, char *const *argv, char *const *envp)
{
	return posix_spawn(pid, path, actions, attributes, argv, envp);
}

int old_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	       const posix_spawnattr_t *attributes, char *const *argv, char *const *envp)
{
	return posix_spawnp(pid, file, actions, attributes, argv, envp);
}
#else
/* Where glibc is younger, there is no such version. */
int no_old_version;
#endif
