/* A GPU driver for tests: NVML with one GPU of 80 GiB, that is 75 % busy. With FAKE_NVML_HANGS=1 it
   never answers. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void *Device;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned long long total, free, used; } Memory;

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

static int device;

static void answer(void) {
    const char *hangs = getenv("FAKE_NVML_HANGS");
    while (hangs && hangs[0] == '1') pause();
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
int nvmlInit_v2(void) { return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *found) {
    *found = &device;
    return index == 0 ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device *found) {
    *found = &device;
    return strcmp(uuid, "GPU-fake") == 0 ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetName(Device d, char *name, unsigned length) {
    (void)d;
    strncpy(name, "Fake H100", length);
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(Device d, Utilization *rates) {
    (void)d;
    answer();
    rates->gpu = 75;
    rates->memory = 20;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(Device d, Memory *memory) {
    (void)d;
    memory->total = 80ull << 30;
    memory->used = 20ull << 30;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(Device d, unsigned sensor, unsigned *celsius) {
    (void)d;
    (void)sensor;
    *celsius = 61;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(Device d, unsigned *milliwatts) {
    (void)d;
    *milliwatts = 350000;
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(Device d, unsigned *milliwatts) {
    (void)d;
    (void)milliwatts;
    return NOT_SUPPORTED; /* as on a MIG instance */
}
