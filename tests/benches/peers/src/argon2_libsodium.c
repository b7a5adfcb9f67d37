/* Argon2id by libsodium, which has one lane only: memory in KiB, passes, lanes
 * (1), hashes. Prints as argon2_reference.c does. */
#include <sodium.h>
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
    if (count != 5 || atoi(arguments[3]) != 1 || sodium_init() < 0)
        return 2;
    const char *password = "correct horse battery staple";
    unsigned char salt[crypto_pwhash_SALTBYTES], hash[32];
    memset(salt, 7, sizeof salt);
    for (int left = atoi(arguments[4]); left > 0; left--) {
        long long started = now();
        if (crypto_pwhash(hash, sizeof hash, password, strlen(password), salt, atoi(arguments[2]),
                          (size_t)atoi(arguments[1]) * 1024, crypto_pwhash_ALG_ARGON2ID13) != 0)
            return 1;
        printf("%lld\n", now() - started);
    }
    for (unsigned index = 0; index < sizeof hash; index++)
        printf("%02x", hash[index]);
    printf("\n");
    return 0;
}
