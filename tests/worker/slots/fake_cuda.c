/* A CUDA driver without a GPU, as much of it as the probe calls.
 *
 * Devices are the names in CUDA_VISIBLE_DEVICES when cuInit is called; a name that starts with
 * "gone" ends the list, as an unknown one does in CUDA. CUDA_FAKE_FAILS="cuMemAlloc_v2:1" makes
 * that call fail on device 1; "cuMemcpyDtoH_v2:0" as CUDA_FAKE_FLIPS changes a byte there instead,
 * CUDA_FAKE_HANGS never returns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int num_devices, device_now, num_allocated, num_contexts;

static int is_due(const char *variable, const char *call) {
    char here[64];
    const char *wanted = getenv(variable);
    snprintf(here, sizeof here, "%s:%d", call, device_now);
    return wanted && strcmp(wanted, here) == 0;
}

static int answer(const char *call) {
    while (is_due("CUDA_FAKE_HANGS", call)) pause();
    return is_due("CUDA_FAKE_FAILS", call) ? 999 : 0;
}

int cuGetErrorString(int code, const char **text) {
    *text = code == 999 ? "unknown error" : NULL;
    return code == 999 ? 0 : 1;
}

int cuInit(unsigned flags) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    char names[1024] = "";
    num_devices = 0;
    if (visible) snprintf(names, sizeof names, "%s", visible);
    for (char *name = strtok(names, ","); name && strncmp(name, "gone", 4); name = strtok(NULL, ","))
        num_devices++;
    return flags ? 1 : answer("cuInit");
}

int cuDeviceGetCount(int *count) {
    *count = num_devices;
    return answer("cuDeviceGetCount");
}

int cuDeviceGet(int *device, int index) {
    device_now = index;
    *device = index + 100;
    return index < num_devices ? answer("cuDeviceGet") : 101;
}

int cuCtxCreate_v2(void **context, unsigned flags, int device) {
    if (flags || device != device_now + 100) return 1;
    num_contexts++;
    *context = &num_contexts;
    return answer("cuCtxCreate_v2");
}

int cuMemAlloc_v2(unsigned long long *memory, size_t size) {
    if (!num_contexts) return 201;
    num_allocated++;
    *memory = (unsigned long long)malloc(size);
    return answer("cuMemAlloc_v2");
}

int cuMemcpyHtoD_v2(unsigned long long memory, const void *from, size_t size) {
    memcpy((void *)memory, from, size);
    return answer("cuMemcpyHtoD_v2");
}

int cuMemcpyDtoH_v2(void *to, unsigned long long memory, size_t size) {
    memcpy(to, (void *)memory, size);
    if (is_due("CUDA_FAKE_FLIPS", "cuMemcpyDtoH_v2")) ((char *)to)[size / 2] ^= 1;
    return answer("cuMemcpyDtoH_v2");
}

int cuMemFree_v2(unsigned long long memory) {
    free((void *)memory);
    return --num_allocated ? 1 : answer("cuMemFree_v2");
}

int cuCtxDestroy_v2(void *context) {
    if (context != &num_contexts || num_allocated) return 1;
    return --num_contexts ? 1 : answer("cuCtxDestroy_v2");
}
