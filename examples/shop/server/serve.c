/* Serves the files of one folder over HTTP/1.0, one request after the other: serve FOLDER PORT. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static void say(int client, const char *text)
{
	if (write(client, text, strlen(text)) < 0)
		perror("write");
}

/* Nothing outside of the folder is ever opened, whatever the path says (openat2(2)). */
static int open_inside(int folder, const char *path)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	return syscall(SYS_openat2, folder, path, &how, sizeof how);
}

static const char *type_of(const char *path)
{
	const char *dot = strrchr(path, '.');
	if (dot && !strcmp(dot, ".html"))
		return "text/html; charset=utf-8";
	return dot && !strcmp(dot, ".css") ? "text/css" : "application/octet-stream";
}

static void answer(int folder, int client)
{
	char request[4096], path[1024], head[256];
	ssize_t length = read(client, request, sizeof request - 1);
	if (length <= 0)
		return;
	request[length] = '\0';
	if (sscanf(request, "GET /%1000[^ ?\r\n]", path) != 1)
		strcpy(path, "index.html");
	struct stat stat;
	int file = open_inside(folder, path);
	if (file < 0 || fstat(file, &stat) || !S_ISREG(stat.st_mode)) {
		say(client, "HTTP/1.0 404 Not Found\r\nContent-Type: text/plain\r\n\r\nnothing here\n");
	} else {
		snprintf(head, sizeof head, "HTTP/1.0 200 OK\r\nContent-Type: %s\r\nContent-Length: %lld\r\n\r\n",
			 type_of(path), (long long)stat.st_size);
		say(client, head);
		off_t at = 0;
		while (at < stat.st_size && sendfile(client, file, &at, stat.st_size - at) > 0)
			;
	}
	if (file >= 0)
		close(file);
}

static void leave(int signal)
{
	(void)signal;
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: serve FOLDER PORT\n");
		return 2;
	}
	signal(SIGTERM, leave);
	signal(SIGINT, leave);
	signal(SIGPIPE, SIG_IGN);
	int folder = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int yes = 1;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])) };
	if (folder < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) ||
	    bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) {
		perror("serve");
		return 1;
	}
	printf("serving %s on port %s\n", argv[1], argv[2]);
	fflush(stdout);
	for (;;) {
		struct timeval patience = { .tv_sec = 5 };
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (client < 0)
			continue;
		setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
		setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
		answer(folder, client);
		close(client);
	}
}
