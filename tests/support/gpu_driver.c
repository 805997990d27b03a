/* The part of NVIDIA's driver that shared_schemas.service.gpus asks, for two GPUs that do not exist. One library stands
   in for libcuda and for libnvidia-ml. CUDA_VISIBLE_DEVICES may be a UUID. Nothing can compute on these GPUs. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPUS 2
#define GIB (1ull << 30)

static int visible[GPUS], n_visible;

static void uuid_of(int gpu, unsigned char *digits) { memset(digits, 0x10 + gpu, 16); }

static void text_of(int gpu, char *text) {
    unsigned char d[16];
    uuid_of(gpu, d);
    sprintf(text, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", d[0], d[1], d[2], d[3],
            d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13], d[14], d[15]);
}

int cuInit(unsigned flags) {
    const char *wanted = getenv("CUDA_VISIBLE_DEVICES");
    n_visible = 0;
    for (int gpu = 0; gpu < GPUS; gpu++) {
        char text[64];
        text_of(gpu, text);
        if (!wanted || !strcmp(wanted, text)) visible[n_visible++] = gpu;
    }
    return 0;
}

int cuDeviceGetCount(int *count) { *count = n_visible; return 0; }
int cuDeviceGet(int *device, int index) { *device = visible[index]; return 0; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Stand-in %d", device); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 16 * GIB; return 0; }
int cuDeviceGetUuid(unsigned char *digits, int device) { uuid_of(device, digits); return 0; }

int nvmlInit_v2(void) { return 0; }

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    for (long gpu = 0; gpu < GPUS; gpu++) {
        char text[64];
        text_of(gpu, text);
        if (!strcmp(uuid, text)) { *handle = (void *)(gpu + 1); return 0; }
    }
    return 6;
}

int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *memory) {
    memory[0] = 16 * GIB;
    memory[2] = (unsigned long long)(long)handle * GIB;
    memory[1] = memory[0] - memory[2];
    return 0;
}
