/* What stands in for the NVIDIA driver's library: its calls, for as many cards as STAND_IN_CARDS
   says. STAND_IN_INIT is what cuInit answers, STAND_IN_CONTEXT what retaining a context does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int retained, pushed;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

int cuInit(unsigned flags) { return number("STAND_IN_INIT", 0); }
int cuDriverGetVersion(int *version) { *version = 13010; return 0; }
int cuDeviceGetCount(int *count) { *count = number("STAND_IN_CARDS", 1); return 0; }

int cuDeviceGet(int *device, int index) {
    if (index < 0 || index >= number("STAND_IN_CARDS", 1)) return 101;
    *device = 40 + index;
    return 0;
}

int cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, length, "Stand-in %d", device);
    return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : -1;
    return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)24 << 30; return 0; }

int cuDevicePrimaryCtxRetain(void **context, int device) {
    int status = number("STAND_IN_CONTEXT", 0);
    if (!status) { *context = &retained; retained++; }
    return status;
}

int cuDevicePrimaryCtxRelease_v2(int device) { retained--; return 0; }
int cuCtxPushCurrent_v2(void *context) { pushed++; return context == &retained ? 0 : 201; }
int cuCtxPopCurrent_v2(void **context) { pushed--; *context = &retained; return 0; }

int cuMemGetInfo_v2(size_t *free, size_t *total) {
    if (!pushed) return 201;
    *free = ((size_t)20 << 30) + 1;
    *total = (size_t)24 << 30;
    return 0;
}

int cuGetErrorString(int status, const char **text) {
    *text = status == 803 ? "system has unsupported display driver / cuda driver combination"
          : status == 2 ? "out of memory"
          : status == 101 ? "invalid device ordinal" : NULL;
    return *text ? 0 : 1;
}

/* What has not been given back; for the tests. */
int stand_in_held(void) { return retained + pushed; }
