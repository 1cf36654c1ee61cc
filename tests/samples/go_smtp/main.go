// Send a mail with Go's net/smtp: a TLS connection dialled to the port that is documented for STARTTLS, and a password.
package main

import (
	"crypto/tls"
	"fmt"
	"net/smtp"
	"os"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	host, port := os.Getenv("SMTP_HOST"), os.Getenv("SMTP_PORT")
	from, to := os.Getenv("SMTP_FROM"), os.Getenv("SMTP_TO")
	auth := smtp.PlainAuth("", os.Getenv("SMTP_USERNAME"), os.Getenv("SMTP_PASSWORD"), host)
	message := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: Hello from Go\r\n\r\nSent by Go over SMTP.", from, to)

	connection, err := tls.Dial("tcp", host+":"+port, &tls.Config{ServerName: host})
	must(err)
	client, err := smtp.NewClient(connection, host)
	must(err)
	must(client.Auth(auth))
	must(client.Mail(from))
	must(client.Rcpt(to))
	data, err := client.Data()
	must(err)
	_, err = data.Write([]byte(message))
	must(err)
	must(data.Close())
	client.Quit()
	fmt.Println("sent")
}
