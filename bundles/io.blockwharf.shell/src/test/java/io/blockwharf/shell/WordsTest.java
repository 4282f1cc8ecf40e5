package io.blockwharf.shell;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.List;

/** The shell's form of arguments. */
class WordsTest {
    @ParameterizedTest(name = "[{index}] {0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    nbd id=e0             | {type=nbd, id=e0}
                    type=nbd id=e0        | {type=nbd, id=e0}
                    nbd name=a,b          | {type=nbd, name=a,b}
                    nbd name=a=b          | {type=nbd, name=a=b}
                    nbd a.b=1 a.c.d=2     | {type=nbd, a={b=1, c={d=2}}}
                    nbd l.0=x l.1=y       | {type=nbd, l={0=x, 1=y}}
                    """)
    void arguments(String words, String expected) {
        assertEquals(expected, Words.arguments("type", List.of(words.split(" "))).toString());
    }

    @ParameterizedTest(name = "[{index}] {0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    nbd id            | Expected '=' after parameter 'id'
                    nbd =x            | Invalid parameter ''
                    nbd,id=e0         | Invalid parameter 'nbd,id'
                    nbd a..b=x        | Invalid parameter '.b'
                    nbd a=1 a.b=2     | Parameters 'a.*' used inconsistently
                    """)
    void errors(String words, String message) {
        var error =
                assertThrows(
                        QmpException.class,
                        () -> Words.arguments("type", List.of(words.split(" "))));
        assertEquals(message, error.getMessage());
    }
}
