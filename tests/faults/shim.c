/* A PKCS#11 module that passes every call on to a real one, and does wrong on demand.
 *
 * PKCS11_FAULTS_MODULE   the real module
 * PKCS11_FAULTS_STATE    a file of 64-bit words, mapped by this module and by the test: `enum word` below
 * PKCS11_FAULTS_LOG      optional: what the module was given to sign, a line for each signature
 *
 * Several processes may share one state; `ONLY_PID` confines the faults to one of them. The names and
 * numbers are those of PKCS #11 v2.40; only what is used is declared.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef unsigned long ulong_t; /* CK_ULONG and all that is one: handles, flags, results */
typedef unsigned char byte_t;

enum { CKR_OK = 0, CKR_GENERAL_ERROR = 5, CKR_DEVICE_REMOVED = 0x32, CKR_SESSION_CLOSED = 0xB0 };
enum { CKR_SESSION_HANDLE_INVALID = 0xB3, CKR_TOKEN_NOT_PRESENT = 0xE0 };
enum { CKA_CLASS = 0, CKA_LABEL = 3, CKA_KEY_TYPE = 0x100, CKO_PRIVATE_KEY = 3, CKF_OS_LOCKING_OK = 2 };

/* The same order in shim.py. */
enum word {
    FAULT, REMAINING, SKIP, DELAY, ABSENT, EPOCH, HANG, ONLY_PID, UNLOCKABLE, /* what the test wants */
    INITIALIZE, INITIALIZE_FLAGS, FINALIZE, LOGIN, LOGOUT, OPEN_SESSION, CLOSE_SESSION, SIGN, INJECTED,
    OPEN_NOW, SIGNING_PEAK, UNLOCKED, /* what the module saw */
    WORDS
};
enum fault { NONE, FLIP, EMPTY, OTHER_KEY, SWAP, OTHER_BYTES, KILL_BEFORE, KILL_AFTER, RESULT = 0x1000 };

typedef struct { byte_t major, minor; } version_t;
typedef struct { ulong_t mechanism; void *parameter; ulong_t length; } mechanism_t;
typedef struct { ulong_t type; void *value; ulong_t length; } attribute_t;
typedef struct { void *create, *destroy, *lock, *unlock; ulong_t flags; void *reserved; } initialize_args_t;
typedef ulong_t (*call_t)(); /* of any parameters: a variadic type would pass them otherwise on some machines */

/* CK_FUNCTION_LIST is a version and 68 pointers in this order. */
enum entry {
    C_INITIALIZE = 0, C_FINALIZE = 1, C_GET_FUNCTION_LIST = 3, C_GET_SLOT_LIST = 4, C_GET_TOKEN_INFO = 6,
    C_INIT_TOKEN = 9, C_INIT_PIN = 10, C_OPEN_SESSION = 12, C_CLOSE_SESSION = 13, C_CLOSE_ALL_SESSIONS = 14,
    C_LOGIN = 18, C_LOGOUT = 19, C_GET_ATTRIBUTE_VALUE = 24, C_FIND_OBJECTS_INIT = 26, C_FIND_OBJECTS = 27,
    C_FIND_OBJECTS_FINAL = 28, C_SIGN_INIT = 42, C_SIGN = 43, C_GENERATE_KEY_PAIR = 59, ENTRIES = 68
};
typedef struct { version_t version; call_t entries[ENTRIES]; } function_list_t;

typedef struct {
    ulong_t handle, mechanism, key, label_length;
    int64_t epoch;
    int dead, fault;
    byte_t label[64];
} session_t;

static function_list_t *real;
static function_list_t ours;
static volatile int64_t *state;
static const char *log_path;
static session_t sessions[1024];
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static int inside, signing;

static int64_t get(enum word word) { return __atomic_load_n(&state[word], __ATOMIC_SEQ_CST); }
static void put(enum word word, int64_t value) { __atomic_store_n(&state[word], value, __ATOMIC_SEQ_CST); }
static void count(enum word word, int64_t by) { __atomic_add_fetch(&state[word], by, __ATOMIC_SEQ_CST); }

/* Takes one from a counter that is above zero; says whether there was one. */
static int take(enum word word) {
    int64_t left = get(word);
    while (left > 0)
        if (__atomic_compare_exchange_n(&state[word], &left, left - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return 1;
    return 0;
}

static void raise_to(enum word word, int64_t value) {
    int64_t seen = get(word);
    while (seen < value)
        if (__atomic_compare_exchange_n(&state[word], &seen, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return;
}

static int is_meant(void) { return get(ONLY_PID) == 0 || get(ONLY_PID) == (int64_t)getpid(); }

static void enter(int signs) {
    if (__atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST) > 1 && !(get(INITIALIZE_FLAGS) & CKF_OS_LOCKING_OK))
        count(UNLOCKED, 1);
    while (is_meant() && (get(HANG) == 2 || (get(HANG) == 1 && signs))) usleep(2000);
}

static ulong_t leave(ulong_t result) {
    __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    return result;
}

/* The guard must be held. */
static session_t *session_of(ulong_t handle) {
    for (size_t i = 0; i < sizeof sessions / sizeof *sessions; i++)
        if (sessions[i].handle == handle) return &sessions[i];
    return NULL;
}

/* What a call with this session answers instead of being made: the token went, or the session was closed. */
static ulong_t lost(ulong_t handle) {
    ulong_t result = CKR_SESSION_HANDLE_INVALID;
    pthread_mutex_lock(&guard);
    session_t *session = handle ? session_of(handle) : NULL;
    if (session != NULL && !session->dead && session->epoch == get(EPOCH)) result = CKR_OK;
    pthread_mutex_unlock(&guard);
    return is_meant() && get(ABSENT) ? CKR_DEVICE_REMOVED : result;
}

static void forget_sessions(void) {
    pthread_mutex_lock(&guard);
    for (size_t i = 0; i < sizeof sessions / sizeof *sessions; i++)
        if (sessions[i].handle) count(OPEN_NOW, -1);
    memset(sessions, 0, sizeof sessions);
    pthread_mutex_unlock(&guard);
}

static void load(void) {
    const char *path = getenv("PKCS11_FAULTS_STATE"), *module = getenv("PKCS11_FAULTS_MODULE");
    int file = path ? open(path, O_RDWR) : -1;
    void *words = file < 0 ? MAP_FAILED : mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    void *library = module ? dlopen(module, RTLD_NOW | RTLD_LOCAL) : NULL;
    call_t list = library ? (call_t)dlsym(library, "C_GetFunctionList") : NULL;
    if (words == MAP_FAILED || list == NULL || list((ulong_t)&real) != CKR_OK) {
        fprintf(stderr, "the shim has no state or no module: %s, %s\n", path ? path : "-", module ? module : "-");
        abort();
    }
    close(file);
    state = words;
    log_path = getenv("PKCS11_FAULTS_LOG");
}

ulong_t C_GetFunctionList(function_list_t **list);

ulong_t C_Initialize(initialize_args_t *args) {
    function_list_t *unused;
    C_GetFunctionList(&unused);
    count(INITIALIZE, 1);
    enter(0);
    if (args && args->flags & CKF_OS_LOCKING_OK && get(UNLOCKABLE)) return leave((ulong_t)get(UNLOCKABLE));
    ulong_t result = real->entries[C_INITIALIZE]((ulong_t)args);
    if (result == CKR_OK) put(INITIALIZE_FLAGS, args ? (int64_t)args->flags : 0);
    return leave(result);
}

ulong_t C_Finalize(void *reserved) {
    enter(0);
    ulong_t result = real->entries[C_FINALIZE]((ulong_t)reserved);
    if (result == CKR_OK) {
        count(FINALIZE, 1);
        forget_sessions();
    }
    return leave(result);
}

ulong_t C_GetSlotList(byte_t present, ulong_t *slots, ulong_t *number) {
    enter(0);
    if (is_meant() && get(ABSENT) && present) {
        *number = 0;
        return leave(CKR_OK);
    }
    return leave(real->entries[C_GET_SLOT_LIST](present, slots, number));
}

ulong_t C_GetTokenInfo(ulong_t slot, void *info) {
    enter(0);
    if (is_meant() && get(ABSENT)) return leave(CKR_TOKEN_NOT_PRESENT);
    return leave(real->entries[C_GET_TOKEN_INFO](slot, info));
}

ulong_t C_InitToken(ulong_t slot, byte_t *pin, ulong_t length, byte_t *label) {
    return real->entries[C_INIT_TOKEN](slot, pin, length, label);
}

ulong_t C_InitPIN(ulong_t session, byte_t *pin, ulong_t length) {
    return real->entries[C_INIT_PIN](session, pin, length);
}

/* A token that came back knows no session of before, and no login. */
static void end_sessions_of_before(ulong_t slot) {
    pthread_mutex_lock(&guard);
    int stale = 0, live = 0;
    for (size_t i = 0; i < sizeof sessions / sizeof *sessions; i++)
        if (sessions[i].handle) *(sessions[i].epoch == get(EPOCH) ? &live : &stale) += 1;
    pthread_mutex_unlock(&guard);
    if (stale && !live) {
        real->entries[C_CLOSE_ALL_SESSIONS](slot);
        forget_sessions();
    }
}

ulong_t C_OpenSession(ulong_t slot, ulong_t flags, void *application, void *notify, ulong_t *handle) {
    enter(0);
    if (is_meant() && get(ABSENT)) return leave(CKR_TOKEN_NOT_PRESENT);
    end_sessions_of_before(slot);
    ulong_t result = real->entries[C_OPEN_SESSION](slot, flags, application, notify, handle);
    if (result == CKR_OK) {
        count(OPEN_SESSION, 1);
        pthread_mutex_lock(&guard);
        session_t *place = session_of(0);
        if (place != NULL) {
            *place = (session_t){.handle = *handle, .epoch = get(EPOCH)};
            count(OPEN_NOW, 1);
        }
        pthread_mutex_unlock(&guard);
    }
    return leave(result);
}

ulong_t C_CloseSession(ulong_t handle) {
    enter(0);
    count(CLOSE_SESSION, 1);
    ulong_t instead = lost(handle), result = real->entries[C_CLOSE_SESSION](handle);
    pthread_mutex_lock(&guard);
    session_t *session = session_of(handle);
    if (session != NULL) {
        memset(session, 0, sizeof *session);
        count(OPEN_NOW, -1);
    }
    pthread_mutex_unlock(&guard);
    return leave(instead ? instead : result);
}

ulong_t C_CloseAllSessions(ulong_t slot) {
    enter(0);
    forget_sessions();
    return leave(real->entries[C_CLOSE_ALL_SESSIONS](slot));
}

ulong_t C_Login(ulong_t session, ulong_t user, byte_t *pin, ulong_t length) {
    enter(0);
    count(LOGIN, 1);
    ulong_t instead = lost(session);
    return leave(instead ? instead : real->entries[C_LOGIN](session, user, pin, length));
}

ulong_t C_Logout(ulong_t session) {
    enter(0);
    count(LOGOUT, 1);
    ulong_t instead = lost(session);
    return leave(instead ? instead : real->entries[C_LOGOUT](session));
}

static ulong_t C_GetAttributeValue(ulong_t session, ulong_t object, attribute_t *template, ulong_t number) {
    enter(0);
    ulong_t instead = lost(session);
    return leave(instead ? instead : real->entries[C_GET_ATTRIBUTE_VALUE](session, object, template, number));
}

static ulong_t C_FindObjectsInit(ulong_t session, attribute_t *template, ulong_t number) {
    enter(0);
    ulong_t instead = lost(session);
    return leave(instead ? instead : real->entries[C_FIND_OBJECTS_INIT](session, template, number));
}

static ulong_t C_FindObjects(ulong_t session, ulong_t *objects, ulong_t most, ulong_t *number) {
    enter(0);
    ulong_t instead = lost(session);
    return leave(instead ? instead : real->entries[C_FIND_OBJECTS](session, objects, most, number));
}

static ulong_t C_FindObjectsFinal(ulong_t session) {
    enter(0);
    ulong_t instead = lost(session);
    return leave(instead ? instead : real->entries[C_FIND_OBJECTS_FINAL](session));
}

static ulong_t C_GenerateKeyPair(ulong_t session, mechanism_t *mechanism, attribute_t *public, ulong_t publics,
                                 attribute_t *private, ulong_t privates, ulong_t *first, ulong_t *second) {
    enter(0);
    ulong_t instead = lost(session);
    return leave(instead ? instead
                         : real->entries[C_GENERATE_KEY_PAIR](session, mechanism, public, publics, private, privates,
                                                              first, second));
}

/* The fault for this signature, used up if it has a number of times. */
static int next_fault(void) {
    int fault = (int)get(FAULT);
    if (fault == NONE || !is_meant() || take(SKIP)) return NONE;
    if (get(REMAINING) != -1 && !take(REMAINING)) return NONE;
    count(INJECTED, 1);
    return fault;
}

/* Another private key of the same type in the token; the same one if there is none. */
static ulong_t another_key(ulong_t session, ulong_t key) {
    ulong_t class = CKO_PRIVATE_KEY, type = 0, found[64], number = 0;
    attribute_t kind = {CKA_KEY_TYPE, &type, sizeof type};
    real->entries[C_GET_ATTRIBUTE_VALUE](session, key, &kind, (ulong_t)1);
    attribute_t template[] = {{CKA_CLASS, &class, sizeof class}, kind};
    real->entries[C_FIND_OBJECTS_INIT](session, template, (ulong_t)2);
    real->entries[C_FIND_OBJECTS](session, found, (ulong_t)64, &number);
    real->entries[C_FIND_OBJECTS_FINAL](session);
    for (ulong_t i = 0; i < number; i++)
        if (found[i] != key) return found[i];
    return key;
}

static void remember(ulong_t handle, ulong_t mechanism, ulong_t key, int fault) {
    byte_t label[64];
    attribute_t name = {CKA_LABEL, label, sizeof label};
    if (log_path == NULL || real->entries[C_GET_ATTRIBUTE_VALUE](handle, key, &name, (ulong_t)1) != CKR_OK)
        name.length = 0;
    pthread_mutex_lock(&guard);
    session_t *session = session_of(handle);
    if (session != NULL) {
        session->mechanism = mechanism;
        session->key = key;
        session->fault = fault;
        session->label_length = name.length;
        memcpy(session->label, label, name.length);
        session->dead |= fault == RESULT + CKR_SESSION_HANDLE_INVALID || fault == RESULT + CKR_SESSION_CLOSED;
    }
    pthread_mutex_unlock(&guard);
}

static ulong_t C_SignInit(ulong_t session, mechanism_t *mechanism, ulong_t key) {
    enter(1);
    ulong_t instead = lost(session);
    if (instead) return leave(instead);
    int fault = next_fault();
    remember(session, mechanism->mechanism, key, fault);
    if (fault >= RESULT) return leave((ulong_t)(fault - RESULT));
    return leave(real->entries[C_SIGN_INIT](session, mechanism, fault == OTHER_KEY ? another_key(session, key) : key));
}

static size_t hex(char *out, const byte_t *data, ulong_t length) {
    for (ulong_t i = 0; i < length; i++) sprintf(out + 2 * i, "%02x", data[i]);
    return 2 * length;
}

/* A line in one write, before the key is used: what a killed process signed is in the log too. */
static void record(const session_t *session, const byte_t *data, ulong_t length) {
    char *line = malloc(2 * (length + sizeof session->label) + 64);
    int file = open(log_path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    size_t end = (size_t)sprintf(line, "%d %lx ", (int)getpid(), session->mechanism);
    end += hex(line + end, session->label, session->label_length);
    line[end++] = ' ';
    end += hex(line + end, data, length);
    line[end++] = '\n';
    if (file < 0 || write(file, line, end) != (ssize_t)end) abort();
    close(file);
    free(line);
}

static void spoil(int fault, byte_t *signature, ulong_t *length) {
    if (fault == EMPTY) *length = 0;
    if (fault == FLIP) signature[*length / 2] ^= 1;
    if (fault == SWAP) {
        byte_t half[8192];
        ulong_t middle = *length / 2;
        memcpy(half, signature, middle);
        memmove(signature, signature + middle, middle);
        memcpy(signature + middle, half, middle);
    }
}

static ulong_t sign(session_t *session, byte_t *data, ulong_t length, byte_t *signature, ulong_t *octets) {
    int fault = session->fault;
    if (log_path != NULL) record(session, data, length);
    if (fault == KILL_BEFORE) kill(getpid(), SIGKILL);
    byte_t *copy = malloc(length + 1);
    memcpy(copy, data, length);
    if (fault == OTHER_BYTES && length) copy[length / 2] ^= 1;
    ulong_t result = real->entries[C_SIGN](session->handle, copy, length, signature, octets);
    free(copy);
    if (fault == KILL_AFTER) kill(getpid(), SIGKILL);
    if (result == CKR_OK) {
        count(SIGN, 1);
        spoil(fault, signature, octets);
    }
    return result;
}

static ulong_t C_Sign(ulong_t handle, byte_t *data, ulong_t length, byte_t *signature, ulong_t *octets) {
    enter(1);
    ulong_t result = lost(handle);
    if (result == CKR_OK && signature == NULL) { /* only the length is asked for */
        result = real->entries[C_SIGN](handle, data, length, NULL, octets);
    } else if (result == CKR_OK) {
        pthread_mutex_lock(&guard);
        session_t session = *session_of(handle);
        pthread_mutex_unlock(&guard);
        raise_to(SIGNING_PEAK, __atomic_add_fetch(&signing, 1, __ATOMIC_SEQ_CST));
        if (is_meant() && get(DELAY)) usleep((useconds_t)get(DELAY));
        result = sign(&session, data, length, signature, octets);
        __atomic_sub_fetch(&signing, 1, __ATOMIC_SEQ_CST);
    }
    return leave(result);
}

ulong_t C_GetFunctionList(function_list_t **list) {
    pthread_mutex_lock(&guard);
    if (real == NULL) {
        load();
        ours = *real;
        ours.version = (version_t){2, 40};
        ours.entries[C_INITIALIZE] = (call_t)C_Initialize;
        ours.entries[C_FINALIZE] = (call_t)C_Finalize;
        ours.entries[C_GET_FUNCTION_LIST] = (call_t)C_GetFunctionList;
        ours.entries[C_GET_SLOT_LIST] = (call_t)C_GetSlotList;
        ours.entries[C_GET_TOKEN_INFO] = (call_t)C_GetTokenInfo;
        ours.entries[C_OPEN_SESSION] = (call_t)C_OpenSession;
        ours.entries[C_CLOSE_SESSION] = (call_t)C_CloseSession;
        ours.entries[C_CLOSE_ALL_SESSIONS] = (call_t)C_CloseAllSessions;
        ours.entries[C_LOGIN] = (call_t)C_Login;
        ours.entries[C_LOGOUT] = (call_t)C_Logout;
        ours.entries[C_GET_ATTRIBUTE_VALUE] = (call_t)C_GetAttributeValue;
        ours.entries[C_FIND_OBJECTS_INIT] = (call_t)C_FindObjectsInit;
        ours.entries[C_FIND_OBJECTS] = (call_t)C_FindObjects;
        ours.entries[C_FIND_OBJECTS_FINAL] = (call_t)C_FindObjectsFinal;
        ours.entries[C_SIGN_INIT] = (call_t)C_SignInit;
        ours.entries[C_SIGN] = (call_t)C_Sign;
        ours.entries[C_GENERATE_KEY_PAIR] = (call_t)C_GenerateKeyPair;
    }
    pthread_mutex_unlock(&guard);
    *list = &ours;
    return CKR_OK;
}
