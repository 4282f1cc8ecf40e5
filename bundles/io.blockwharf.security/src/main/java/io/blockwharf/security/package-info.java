/** Secrets, TLS credentials and authorizers: object types that servers and clients use. */
package io.blockwharf.security;
