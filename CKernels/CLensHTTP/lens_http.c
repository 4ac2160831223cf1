// libcurl's easy interface, found at run time. The option numbers are part of its ABI, which has not changed since 2000
// (curl.haxx.se's ABI policy); its headers are not needed.

#include "lens_http.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

typedef struct curl CURL;
struct curl_slist;

enum {
    OPT_WRITEDATA = 10001, OPT_URL = 10002, OPT_ERRORBUFFER = 10010, OPT_WRITEFUNCTION = 20011, OPT_LOW_SPEED_LIMIT = 19,
    OPT_LOW_SPEED_TIME = 20, OPT_HTTPHEADER = 10023, OPT_HEADERDATA = 10029, OPT_NOPROGRESS = 43, OPT_NOBODY = 44,
    OPT_FOLLOWLOCATION = 52, OPT_XFERINFODATA = 10057, OPT_MAXREDIRS = 68, OPT_CONNECTTIMEOUT = 78,
    OPT_HEADERFUNCTION = 20079, OPT_NOSIGNAL = 99, OPT_ACCEPT_ENCODING = 10102, OPT_XFERINFOFUNCTION = 20219,
    OPT_PROTOCOLS = 181, OPT_REDIR_PROTOCOLS = 182, INFO_RESPONSE_CODE = 0x200002, GLOBAL_ALL = 3, ERROR_SIZE = 256,
    HTTP_AND_HTTPS = 3,
};

enum { E_OK = 0, E_PROXY = 5, E_HOST = 6, E_CONNECT = 7, E_PARTIAL = 18, E_WRITE = 23, E_TIMEOUT = 28, E_SSL_CONNECT = 35,
       E_ABORTED = 42, E_GOT_NOTHING = 52, E_SEND = 55, E_RECEIVE = 56, E_CERTIFICATE = 60, E_CA_FILE = 77, E_HTTP2 = 92 };

static struct {
    int is_there;
    CURL *(*init)(void);
    int (*setopt)(CURL *, int, ...);
    int (*perform)(CURL *);
    int (*getinfo)(CURL *, int, ...);
    void (*cleanup)(CURL *);
    struct curl_slist *(*append)(struct curl_slist *, const char *);
    void (*free_all)(struct curl_slist *);
} curl;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void open_library(void) {
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.4.dylib"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++) library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    int (*global_init)(long) = (int (*)(long))dlsym(library, "curl_global_init");
    curl.init = (CURL * (*)(void)) dlsym(library, "curl_easy_init");
    curl.setopt = (int (*)(CURL *, int, ...))dlsym(library, "curl_easy_setopt");
    curl.perform = (int (*)(CURL *))dlsym(library, "curl_easy_perform");
    curl.getinfo = (int (*)(CURL *, int, ...))dlsym(library, "curl_easy_getinfo");
    curl.cleanup = (void (*)(CURL *))dlsym(library, "curl_easy_cleanup");
    curl.append = (struct curl_slist * (*)(struct curl_slist *, const char *)) dlsym(library, "curl_slist_append");
    curl.free_all = (void (*)(struct curl_slist *))dlsym(library, "curl_slist_free_all");
    curl.is_there = global_init && curl.init && curl.setopt && curl.perform && curl.getinfo && curl.cleanup && curl.append &&
                    curl.free_all && global_init(GLOBAL_ALL) == E_OK;
}

static size_t take_header(char *bytes, size_t size, size_t count, void *context) {
    const lens_http_request *request = context;
    size_t length = size * count;
    while (length > 0 && (bytes[length - 1] == '\n' || bytes[length - 1] == '\r')) length--;
    if (length > 0) request->on_header(request->context, bytes, length);
    return size * count;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context) {
    const lens_http_request *request = context;
    return request->on_body(request->context, bytes, size * count) ? size * count : 0;
}

static int tick(void *context, int64_t total, int64_t now, int64_t upload_total, int64_t uploaded) {
    (void)total, (void)now, (void)upload_total, (void)uploaded;
    const lens_http_request *request = context;
    return !request->on_tick(request->context);
}

static lens_http_end ended(int code) {
    switch (code) {
    case E_OK: return LENS_HTTP_ANSWERED;
    case E_PROXY: case E_HOST: case E_CONNECT: case E_TIMEOUT: return LENS_HTTP_UNREACHABLE;
    case E_PARTIAL: case E_GOT_NOTHING: case E_SEND: case E_RECEIVE: case E_SSL_CONNECT: case E_HTTP2: return LENS_HTTP_CUT;
    case E_WRITE: case E_ABORTED: return LENS_HTTP_STOPPED;
    case E_CERTIFICATE: case E_CA_FILE: return LENS_HTTP_UNTRUSTED;
    default: return LENS_HTTP_FAILED;
    }
}

lens_http_end lens_http_perform(const lens_http_request *request, long *status, char *message, size_t message_size) {
    *status = 0;
    if (message_size > 0) message[0] = 0;
    pthread_once(&once, open_library);
    if (!curl.is_there) return LENS_HTTP_NO_LIBRARY;
    CURL *handle = curl.init();
    if (!handle) return LENS_HTTP_FAILED;
    char error[ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    for (size_t i = 0; i < request->header_count; i++) headers = curl.append(headers, request->headers[i]);
    curl.setopt(handle, OPT_URL, request->url);
    curl.setopt(handle, OPT_HTTPHEADER, headers);
    curl.setopt(handle, OPT_ERRORBUFFER, error);
    curl.setopt(handle, OPT_NOSIGNAL, 1L);
    curl.setopt(handle, OPT_NOBODY, (long)request->head_only);
    curl.setopt(handle, OPT_FOLLOWLOCATION, (long)(request->redirects > 0));
    curl.setopt(handle, OPT_MAXREDIRS, request->redirects);
    curl.setopt(handle, OPT_PROTOCOLS, (long)HTTP_AND_HTTPS);
    curl.setopt(handle, OPT_REDIR_PROTOCOLS, (long)HTTP_AND_HTTPS);
    curl.setopt(handle, OPT_CONNECTTIMEOUT, request->connect_timeout);
    curl.setopt(handle, OPT_LOW_SPEED_LIMIT, 1L);
    curl.setopt(handle, OPT_LOW_SPEED_TIME, request->stall_timeout);
    curl.setopt(handle, OPT_HEADERFUNCTION, take_header);
    curl.setopt(handle, OPT_HEADERDATA, request);
    curl.setopt(handle, OPT_WRITEFUNCTION, take_body);
    curl.setopt(handle, OPT_WRITEDATA, request);
    curl.setopt(handle, OPT_NOPROGRESS, 0L);
    curl.setopt(handle, OPT_XFERINFOFUNCTION, tick);
    curl.setopt(handle, OPT_XFERINFODATA, request);
    int code = curl.perform(handle);
    curl.getinfo(handle, INFO_RESPONSE_CODE, status);
    if (code != E_OK && message_size > 0) snprintf(message, message_size, "%s", error);
    curl.free_all(headers);
    curl.cleanup(handle);
    return ended(code);
}
