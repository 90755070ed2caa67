/* A process that starts children and collects children until there are none: a container's first process, or a
   subreaper, as build drivers have one.

       collects [-s] [-k] HOW COUNT COMMAND ARG...

   -s makes it a subreaper. COUNT children run the command; "{}" in an argument is the child's number. HOW: wait, waitid,
   wall, wallid, nohang, never (collects its own only, one by one). Prints each child of its own as it ends, in the order
   in which they end if -k is not given (then sorted), then who else came, and which zombies are left to it. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t mine[64];
static int status_of[64], count, strangers, order[64], ended;

static void note(pid_t pid, int status)
{
    for (int i = 0; i < count; i++)
        if (mine[i] == pid) {
            status_of[i] = status;
            order[ended++] = i;
            return;
        }
    strangers++;
    fprintf(stderr, "a stranger, %d, status %#x\n", pid, status);
}

/* Waits for one; 0 if there are none. */
static int one(const char *how)
{
    int status = 0;
    pid_t pid;
    if (!strcmp(how, "wait")) {
        pid = wait(&status);
    } else if (!strcmp(how, "wall")) {
        pid = waitpid(-1, &status, __WALL);
    } else if (!strcmp(how, "nohang")) {
        while ((pid = waitpid(-1, &status, WNOHANG)) == 0)
            usleep(2000);
    } else {
        siginfo_t info = { 0 };
        int options = WEXITED | (strcmp(how, "wallid") ? 0 : __WALL);
        if (waitid(P_ALL, 0, &info, options) < 0)
            pid = -1;
        else
            pid = info.si_pid;
        status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
    }
    if (pid < 0 && errno != ECHILD) {
        perror(how);
        exit(9);
    }
    if (pid > 0)
        note(pid, status);
    return pid > 0;
}

static int zombies(void)
{
    int n = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *e; proc && (e = readdir(proc));) {
        char path[300], text[512] = "";
        int parent = 0;
        char state = 0;
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        FILE *f = fopen(path, "r");
        if (f && fgets(text, sizeof text, f) && strrchr(text, ')'))
            sscanf(strrchr(text, ')') + 1, " %c %d", &state, &parent);
        if (f)
            fclose(f);
        n += state == 'Z' && parent == getpid();
    }
    if (proc)
        closedir(proc);
    return n;
}

int main(int argc, char **argv)
{
    int sorted = 0, i = 1;
    for (; i < argc && argv[i][0] == '-'; i++)
        if (argv[i][1] == 's')
            prctl(PR_SET_CHILD_SUBREAPER, 1);
        else
            sorted = 1;
    const char *how = argv[i++];
    count = atoi(argv[i++]);
    for (int k = 0; k < count; k++) {
        mine[k] = fork();
        if (mine[k] == 0) {
            char number[8];
            snprintf(number, sizeof number, "%d", k);
            for (int a = i; a < argc; a++)
                if (!strcmp(argv[a], "{}"))
                    argv[a] = number;
            execvp(argv[i], argv + i);
            _exit(127);
        }
    }
    if (!strcmp(how, "never")) {
        for (int k = 0; k < count; k++) {
            int status;
            waitpid(mine[k], &status, 0);
            note(mine[k], status);
        }
        usleep(300000);
    } else {
        while (one(how))
            ;
    }
    for (int k = 0; k < ended; k++) {
        int m = sorted ? k : order[k];
        printf("child %d: %#x\n", m, status_of[m]);
    }
    printf("%d of mine, %d strangers, %d zombies\n", ended, strangers, zombies());
    return strangers != 0;
}
