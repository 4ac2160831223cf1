// One HTTP request through libcurl, which is opened when the first request is made: a program that downloads nothing
// neither links nor loads it (loading costs 15 ms and thirty libraries at every start).

#ifndef LENS_HTTP_H
#define LENS_HTTP_H

#include <stddef.h>
#include <stdint.h>

/// What a request is, and who is told about the answer. Strings are UTF-8 and end with 0.
typedef struct {
    const char *url;
    /// "Name: value" lines; `header_count` of them.
    const char *const *headers;
    size_t header_count;
    /// Ask for the headers only.
    int head_only;
    /// Redirects to follow; 0: none. Credentials given as a header do not follow to another host.
    long redirects;
    /// Seconds to wait for a connection.
    long connect_timeout;
    /// Seconds of near silence (under 1 byte a second) after which to give up.
    long stall_timeout;
    /// Told each header line of each response, status lines included, without its line end.
    void (*on_header)(void *context, const char *line, size_t length);
    /// Told the body in pieces; returns 0 to stop the request.
    int (*on_body)(void *context, const void *bytes, size_t length);
    /// Asked about once a second at least; returns 0 to stop the request.
    int (*on_tick)(void *context);
    void *context;
} lens_http_request;

/// How a request ended.
typedef enum {
    /// An answer came, whole; its status may still be an error.
    LENS_HTTP_ANSWERED = 0,
    /// libcurl is not on this machine.
    LENS_HTTP_NO_LIBRARY,
    /// The host could not be found or reached, or did not answer in time.
    LENS_HTTP_UNREACHABLE,
    /// The connection was cut before the answer was whole.
    LENS_HTTP_CUT,
    /// `on_body` or `on_tick` stopped it.
    LENS_HTTP_STOPPED,
    /// The certificate is not trusted.
    LENS_HTTP_UNTRUSTED,
    /// The address is malformed, or anything else libcurl refuses.
    LENS_HTTP_FAILED,
} lens_http_end;

/// Makes the request and blocks until it has ended. Any thread may call it.
/// - Parameters:
///   - status: the last response's status code; 0 where none came.
///   - message: libcurl's own words for what went wrong; `message_size` bytes, ends with 0, empty for an answer.
lens_http_end lens_http_perform(const lens_http_request *request, long *status, char *message, size_t message_size);

#endif
