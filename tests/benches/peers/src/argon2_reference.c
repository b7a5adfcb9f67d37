/* Argon2id by the reference library: memory in KiB, passes, lanes (as many
 * threads), hashes. Prints the nanoseconds of each hash, and the last hash. */
#include <argon2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int count, char **arguments) {
    if (count != 5)
        return 2;
    const char *password = "correct horse battery staple";
    unsigned char salt[16], hash[32];
    memset(salt, 7, sizeof salt);
    for (int left = atoi(arguments[4]); left > 0; left--) {
        long long started = now();
        int outcome = argon2id_hash_raw(atoi(arguments[2]), atoi(arguments[1]), atoi(arguments[3]),
                                        password, strlen(password), salt, sizeof salt, hash,
                                        sizeof hash);
        if (outcome != ARGON2_OK) {
            fprintf(stderr, "%s\n", argon2_error_message(outcome));
            return 1;
        }
        printf("%lld\n", now() - started);
    }
    for (unsigned index = 0; index < sizeof hash; index++)
        printf("%02x", hash[index]);
    printf("\n");
    return 0;
}
